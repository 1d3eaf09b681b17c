{{- define "psychechat.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = default $full .Values.fullnameOverride -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "the name %q, which KubeRay does not take, is not lower case letters, digits and dashes that begin with a letter: set fullnameOverride" $full) -}}
{{- end -}}
{{- if gt (len $full) 47 -}}
{{- fail (printf "the name %q is longer than 47 characters, which KubeRay does not take: set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* Of every Ray pod, whichever cluster it belongs to. KubeRay keeps app.kubernetes.io/name for itself. */}}
{{- define "psychechat.podLabels" -}}
app.kubernetes.io/part-of: psychechat
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "psychechat.raySelector" -}}
matchLabels:
  {{- include "psychechat.podLabels" . | nindent 2 }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [head, worker]}
{{- end -}}

{{- define "psychechat.labels" -}}
{{ include "psychechat.podLabels" . }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "psychechat.image" -}}
{{- $default := ternary "" (printf "%s-cpu" .Chart.AppVersion) (ne .Values.image.digest "") -}}
{{- with .Values.image -}}
{{ .repository }}{{ with default $default .tag }}:{{ . }}{{ end }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "psychechat.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "psychechat.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "psychechat.serviceName" -}}
{{ default (printf "%s-serve-svc" (include "psychechat.fullname" .)) .Values.service.name }}
{{- end -}}

{{- define "psychechat.redisHost" -}}
{{ include "psychechat.fullname" . }}-redis.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* The seconds of the drain, each checked against the one before. As JSON. */}}
{{- define "psychechat.drain" -}}
{{- $turn := dig "policy" "limits" "turn_seconds" 90 .Values.app | float64 -}}
{{- $given := .Values.drain -}}
{{- $start := ceil $turn | int -}}
{{- $hardStop := $given.haproxyHardStopSeconds | default (add $start 30) | int -}}
{{- $graceful := $given.gracefulShutdownSeconds | default (add $hardStop 30) | int -}}
{{- $grace := $given.terminationGraceSeconds | default (add $graceful 60) | int -}}
{{- if le (float64 $hardStop) $turn -}}
{{- fail (printf "drain.haproxyHardStopSeconds (%d) must be more than app.policy.limits.turn_seconds (%v): a turn would be cut" $hardStop $turn) -}}
{{- end -}}
{{- if le $graceful $hardStop -}}
{{- fail (printf "drain.gracefulShutdownSeconds (%d) must be more than drain.haproxyHardStopSeconds (%d): a replica would go before its connections" $graceful $hardStop) -}}
{{- end -}}
{{- $preStop := sub $grace 15 | int -}}
{{- if le $preStop $graceful -}}
{{- fail (printf "drain.terminationGraceSeconds (%d) must be more than 15 seconds above drain.gracefulShutdownSeconds (%d): a pod would go before its replicas" $grace $graceful) -}}
{{- end -}}
{{- if ge (int $given.minDrainingSeconds) $graceful -}}
{{- fail (printf "drain.minDrainingSeconds (%v) must be less than drain.gracefulShutdownSeconds (%d)" $given.minDrainingSeconds $graceful) -}}
{{- end -}}
{{- if le (float64 .Values.haproxy.timeoutServerSeconds) $turn -}}
{{- fail (printf "haproxy.timeoutServerSeconds (%v) must be more than app.policy.limits.turn_seconds (%v): a turn would be cut" .Values.haproxy.timeoutServerSeconds $turn) -}}
{{- end -}}
{{- dict "turn" $start "hardStop" $hardStop "graceful" $graceful "grace" $grace "preStop" $preStop | toJson -}}
{{- end -}}

{{/* What the combination of values must hold, said before anything is rendered. */}}
{{- define "psychechat.check" -}}
{{- $values := .Values -}}
{{- $memory := dig "memory" "backend" "local" $values.app -}}
{{- if and (not $values.secrets.apiKeys.existingSecret) (not (dig "auth" "keys" dict $values.app)) (not (dig "auth" "keys_file" "" $values.app)) -}}
{{- fail "everyone who reaches the API could use it: name a secret with keys in secrets.apiKeys.existingSecret (`psychechat keys new NAME` prints a line), or set app.auth.keys" -}}
{{- end -}}
{{- if and (or $values.app.engines $values.app.roles) (or $values.app.counselor $values.app.seeker) -}}
{{- fail "app.counselor and app.seeker are short for engines of these names: where there are app.engines or app.roles, write app.engines.counselor" -}}
{{- end -}}
{{- if eq $memory "redis" -}}
{{- if not (or $values.secrets.redisUrl.existingSecret $values.redis.enabled (dig "memory" "url_file" "" $values.app)) -}}
{{- fail "app.memory.backend is redis: name a secret with its URL in secrets.redisUrl.existingSecret, or set redis.enabled for a trial" -}}
{{- end -}}
{{- if not (or $values.secrets.memoryKeys.existingSecret (dig "memory" "keys_file" "" $values.app)) -}}
{{- fail "app.memory.backend is redis: name a secret with what `psychechat keys memory` prints in secrets.memoryKeys.existingSecret" -}}
{{- end -}}
{{- end -}}
{{- if and $values.secrets.escalation.urlKey (not $values.secrets.escalation.existingSecret) -}}
{{- fail "secrets.escalation.urlKey is a key of a secret: name it in secrets.escalation.existingSecret" -}}
{{- end -}}
{{- if and $values.secrets.escalation.urlKey (or (dig "escalation" "url" "" $values.app) (dig "escalation" "url_file" "" $values.app)) -}}
{{- fail "secrets.escalation.urlKey stands in the place of app.escalation.url and url_file: take one" -}}
{{- end -}}
{{- if and (include "psychechat.escalates" .) (not $values.secrets.escalation.existingSecret) (not (dig "escalation" "secret_file" "" $values.app)) -}}
{{- fail "crises are to be told of (app.escalation): name the secret that signs its events in secrets.escalation.existingSecret" -}}
{{- end -}}
{{- if and $values.redis.enabled (not $values.redis.existingSecret) -}}
{{- fail "redis.enabled: name a secret with its password in redis.existingSecret" -}}
{{- end -}}
{{- if and $values.gcsFaultTolerance.enabled (not (or $values.gcsFaultTolerance.redisAddress $values.redis.enabled)) -}}
{{- fail "gcsFaultTolerance.enabled: set gcsFaultTolerance.redisAddress, or redis.enabled for a trial" -}}
{{- end -}}
{{- if and $values.modelCache.prepare.enabled (not (or $values.modelCache.existingClaim $values.modelCache.volume)) -}}
{{- fail "modelCache.prepare.enabled: the models are downloaded before anything of the chart is there: name a claim in modelCache.existingClaim, or a modelCache.volume" -}}
{{- end -}}
{{- range $source := list "hostPath" "emptyDir" "ephemeral" -}}
{{- if and $values.modelCache.prepare.enabled (hasKey $values.modelCache.volume $source) -}}
{{- fail (printf "modelCache.prepare.enabled: a modelCache.volume of %s is another one on each node or pod, so what is downloaded would not be where the engines are: name a claim in modelCache.existingClaim, or a volume that all of them share, such as nfs" $source) -}}
{{- end -}}
{{- end -}}
{{- include "psychechat.kuberayTakes" . -}}
{{- end -}}
