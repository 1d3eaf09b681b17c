{{/*
What KubeRay's operator would refuse once it is installed, with an event that nobody reads, or take and never serve: said
before anything is rendered. The rules are those of its validation.go.
*/}}
{{- define "psychechat.kuberayTakes" -}}
{{- $values := .Values -}}
{{- $auto := $values.autoscaler -}}
{{- include "psychechat.incrementalUpgrade" . -}}

{{- $names := list -}}
{{- range concat $values.extraEnv $values.head.extraEnv -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range $name := list "RAY_REDIS_ADDRESS" "REDIS_PASSWORD" "REDIS_USERNAME" -}}
{{- if has $name $names -}}
{{- fail (printf "%s is KubeRay's to set: give what it says in gcsFaultTolerance, not in extraEnv" $name) -}}
{{- end -}}
{{- end -}}
{{- if has "RAY_enable_autoscaler_v2" $names -}}
{{- fail "RAY_enable_autoscaler_v2 is KubeRay's to set: say it with autoscaler.enabled and autoscaler.options.version" -}}
{{- end -}}
{{- range $name := list "redis-password" "redis-username" "labels" -}}
{{- if hasKey $values.head.rayStartParams $name -}}
{{- fail (printf "head.rayStartParams.%s: KubeRay refuses it. Redis is said in gcsFaultTolerance, labels of pods in head.labels" $name) -}}
{{- end -}}
{{- end -}}

{{- range $group, $given := $values.workerGroups -}}
{{- if $given -}}
{{- $whole := mergeOverwrite (deepCopy $values.workerDefaults) $given -}}
{{- if hasKey $whole.rayStartParams "labels" -}}
{{- fail (printf "workerGroups.%s.rayStartParams.labels: KubeRay refuses it. Labels of pods are workerGroups.%s.labels" $group $group) -}}
{{- end -}}
{{- if not (kindIs "invalid" $whole.idleTimeoutSeconds) -}}
{{- if not (and $auto.enabled (eq (toString $auto.options.version) "v2") (ge (int $whole.idleTimeoutSeconds) 0)) -}}
{{- fail (printf "workerGroups.%s.idleTimeoutSeconds: only the autoscaler, of version v2, looks at it, and it is no less than 0: set autoscaler.enabled, or leave it out" $group) -}}
{{- end -}}
{{- end -}}
{{- if and $values.rayCluster.networkPolicy (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $group)) -}}
{{- fail (printf "workerGroups.%s: with rayCluster.networkPolicy a group's name is lower case letters, digits and dashes" $group) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if lt (int (default 0 $auto.options.idleTimeoutSeconds)) 0 -}}
{{- fail "autoscaler.options.idleTimeoutSeconds is no less than 0" -}}
{{- end -}}

{{- if dig "authOptions" "enableK8sTokenAuth" false $values.rayCluster -}}
{{- fail "rayCluster.authOptions.enableK8sTokenAuth: KubeRay takes it for a RayCluster, not for a RayService: leave it out" -}}
{{- end -}}
{{- if and (eq (dig "authOptions" "mode" "disabled" $values.rayCluster) "token") (semverCompare "<2.52.0-0" $values.rayVersion) -}}
{{- fail (printf "rayCluster.authOptions.mode token needs Ray 2.52 or later, and rayVersion is %s" $values.rayVersion) -}}
{{- end -}}

{{- with $values.rayCluster.networkPolicy -}}
{{- $mode := default "DenyAll" .mode -}}
{{- range $part := concat (list (default dict .head) (default dict .worker)) (default list .workerGroups) -}}
{{- if or (and (eq $mode "DenyAllEgress") $part.ingressRules) (and (eq $mode "DenyAllIngress") $part.egressRules) -}}
{{- fail (printf "rayCluster.networkPolicy: with mode %s there are no rules for what it does not restrict" $mode) -}}
{{- end -}}
{{- if and $part.groupName (not (get $values.workerGroups $part.groupName)) -}}
{{- fail (printf "rayCluster.networkPolicy.workerGroups: there is no worker group %q" $part.groupName) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if dig "tlsOptions" "enabled" false $values.rayCluster -}}
{{- range $name := list "RAY_USE_TLS" "RAY_TLS_SERVER_CERT" "RAY_TLS_SERVER_KEY" "RAY_TLS_CA_CERT" -}}
{{- if has $name $names -}}
{{- fail (printf "rayCluster.tlsOptions: KubeRay sets %s itself: leave it out of extraEnv" $name) -}}
{{- end -}}
{{- end -}}
{{- range $values.extraVolumeMounts -}}
{{- if or (eq .mountPath "/etc/ray/tls") (eq .name "ray-tls") -}}
{{- fail "rayCluster.tlsOptions: KubeRay mounts its certificates at /etc/ray/tls, from the volume ray-tls: leave both out of extraVolumeMounts" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- range $name, $value := $values.annotations -}}
{{- if and (eq $name "ray.io/initializing-timeout") (not (regexMatch "^(0*[1-9][0-9]*|([0-9.]*[1-9][0-9.]*(ns|us|ms|s|m|h))+)$" (toString $value))) -}}
{{- fail (printf "annotations: ray.io/initializing-timeout is a time such as 30m or 1h, or seconds, and not %q" (toString $value)) -}}
{{- end -}}
{{- if has $name (list "ray.io/ft-enabled" "ray.io/external-storage-namespace") -}}
{{- fail (printf "annotations: %s is said with gcsFaultTolerance" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What an upgrade step by step needs, and cannot have beside it. */}}
{{- define "psychechat.incrementalUpgrade" -}}
{{- if eq .Values.upgradeStrategy.type "NewClusterWithIncrementalUpgrade" -}}
{{- $options := default dict .Values.upgradeStrategy.clusterUpgradeOptions -}}
{{- $surge := int (dig "maxSurgePercent" 100 $options) -}}
{{- $step := int (dig "stepSizePercent" -1 $options) -}}
{{- if not .Values.autoscaler.enabled -}}
{{- fail "upgradeStrategy.type NewClusterWithIncrementalUpgrade: KubeRay refuses it without Ray's autoscaler: set autoscaler.enabled, or take NewCluster" -}}
{{- end -}}
{{- if not $options.gatewayClassName -}}
{{- fail "upgradeStrategy.clusterUpgradeOptions.gatewayClassName: name the class of the Gateway that KubeRay is to make" -}}
{{- end -}}
{{- if le (int $options.intervalSeconds) 0 -}}
{{- fail "upgradeStrategy.clusterUpgradeOptions.intervalSeconds: say how long a step lasts, more than 0" -}}
{{- end -}}
{{- if or (lt $step 0) (gt $step $surge) (lt $surge 0) (gt $surge 100) -}}
{{- fail "upgradeStrategy.clusterUpgradeOptions: 0 <= stepSizePercent <= maxSurgePercent <= 100 does not hold" -}}
{{- end -}}
{{- if or .Values.ingress.enabled .Values.httpRoute.enabled -}}
{{- fail "upgradeStrategy.type NewClusterWithIncrementalUpgrade: KubeRay makes a Gateway, and a service for each cluster, so there is none that ingress or httpRoute could lead to: take NewCluster, or leave them out" -}}
{{- end -}}
{{- end -}}
{{- end -}}
