{{/* Whether somebody is told of crises. */}}
{{- define "psychechat.escalates" -}}
{{- $escalation := .Values.app.escalation | default dict -}}
{{- if or $escalation.url $escalation.url_file .Values.secrets.escalation.urlKey }}true{{ end -}}
{{- end -}}

{{/* The mounted secrets: where each is a file, and which setting says so. As JSON. */}}
{{- define "psychechat.files" -}}
{{- $files := list -}}
{{- with .Values.secrets -}}
{{- range list
      (dict "secret" .apiKeys "name" "api-keys" "branch" "auth" "setting" "keys_file" "used" true)
      (dict "secret" .redisUrl "name" "redis-url" "branch" "memory" "setting" "url_file" "used" (eq (dig "memory" "backend" "local" $.Values.app) "redis"))
      (dict "secret" .memoryKeys "name" "memory-keys" "branch" "memory" "setting" "keys_file" "used" (eq (dig "memory" "backend" "local" $.Values.app) "redis"))
      (dict "secret" .escalation "name" "escalation" "branch" "escalation" "setting" "secret_file" "used" (include "psychechat.escalates" $)) -}}
{{- if and .secret.existingSecret .used -}}
{{- $files = append $files . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $files | toJson -}}
{{- end -}}

{{/* The settings without their policy, which is the ingress's user_config: it may change while turns run. */}}
{{- define "psychechat.args" -}}
{{- $args := omit (deepCopy .Values.app) "policy" -}}
{{- range include "psychechat.files" . | fromJsonArray -}}
{{- $branch := merge (dict .setting (printf "/etc/psychechat/%s/%s" .name .secret.key)) (get $args .branch | default dict) -}}
{{- $_ := set $args .branch $branch -}}
{{- end -}}
{{- with .Values.secrets.escalation.urlKey -}}
{{- $_ := set $args.escalation "url_file" (printf "/etc/psychechat/escalation/%s" .) -}}
{{- end -}}
{{- $args | toJson -}}
{{- end -}}

{{/* The names of the engines' deployments, also where they are written in short. As JSON. */}}
{{- define "psychechat.engines" -}}
{{- $short := ternary (list "counselor" "seeker") (list "counselor") (not (empty .Values.app.seeker)) -}}
{{- .Values.app.engines | default dict | keys | sortAlpha | default $short | toJson -}}
{{- end -}}

{{- define "psychechat.serveConfig" -}}
{{- $drain := include "psychechat.drain" . | fromJson -}}
{{- $deployments := list -}}
{{- range concat (list "ingress" "classifier") (include "psychechat.engines" . | fromJsonArray) -}}
{{- $deployment := dict
      "name" .
      "graceful_shutdown_timeout_s" $drain.graceful
      "max_surge_percent" (dig . 100 $.Values.serve.maxSurgePercent | int) -}}
{{- if and (eq . "ingress") $.Values.app.policy -}}
{{- $_ := set $deployment "user_config" $.Values.app.policy -}}
{{- end -}}
{{- $deployments = append $deployments $deployment -}}
{{- end -}}
{{- $application := dict
      "name" "psychechat"
      "route_prefix" "/"
      "import_path" "psychechat_ray.app:build"
      "args" (include "psychechat.args" . | fromJson)
      "deployments" $deployments -}}
{{- with .Values.serve.loggingConfig -}}
{{- $_ := set $application "logging_config" . -}}
{{- end -}}
{{- dict
      "proxy_location" "EveryNode"
      "http_options" (dict "host" "0.0.0.0" "port" (int .Values.app.port))
      "applications" (list $application)
    | toYaml -}}
{{- end -}}

{{/* The secrets that must be there before an install, by name, with the keys that are read. As JSON. */}}
{{- define "psychechat.secretsNeeded" -}}
{{- $needed := dict -}}
{{- $files := list -}}
{{- range include "psychechat.files" . | fromJsonArray -}}
{{- $files = append $files (list .secret.existingSecret .secret.key) -}}
{{- end -}}
{{- with .Values -}}
{{- $tables := ternary .gcsFaultTolerance.existingSecret "" .gcsFaultTolerance.enabled -}}
{{- $metrics := ternary (default dict .podMonitor.bearerTokenSecret) dict (and .podMonitor.enabled .podMonitor.ingress) -}}
{{- range concat $files (list
      (list (ternary .secrets.escalation.existingSecret "" (ne .secrets.escalation.urlKey "")) .secrets.escalation.urlKey)
      (list .secrets.huggingFace.existingSecret .secrets.huggingFace.key)
      (list (ternary .redis.existingSecret "" .redis.enabled) .redis.key)
      (list $tables .gcsFaultTolerance.key)
      (list (dig "authOptions" "secretName" "" .rayCluster) "auth_token")
      (list (get $metrics "name") (get $metrics "key"))) -}}
{{- $name := index . 0 -}}
{{- if $name -}}
{{- $_ := set $needed $name (append (get $needed $name | default list) (index . 1) | uniq) -}}
{{- end -}}
{{- end -}}
{{- range concat .imagePullSecrets (ternary .ingress.tls list .ingress.enabled) -}}
{{- $name := .name | default .secretName -}}
{{- if $name -}}
{{- $_ := set $needed $name (get $needed $name | default list) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $needed | toJson -}}
{{- end -}}
