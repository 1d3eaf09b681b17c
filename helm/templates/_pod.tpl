{{/*
Everything here takes the root, a group with all its defaults, its component (head or worker) and its name.
*/}}

{{/* Whether the ingress may run there: its pods alone have our secrets. */}}
{{- define "psychechat.runsIngress" -}}
{{- $all := eq .component "worker" -}}
{{- range $resource, $_ := dig "ingress" "resources" dict .root.Values.app -}}
{{- $all = and $all (hasKey $.group.rayResources $resource) -}}
{{- end -}}
{{- if $all -}}true{{- end -}}
{{- end -}}

{{/* Whether Kubernetes gives it GPUs, or somebody says how many Ray may count. */}}
{{- define "psychechat.hasGpus" -}}
{{- $given := or (hasKey (default dict .group.rayStartParams) "num-gpus") (hasKey (default dict .group.resources) "claims") -}}
{{- range $resource, $_ := dig "resources" "limits" dict .group -}}
{{- $given = or $given (regexMatch "gpu(\\.shared)?$" $resource) (regexMatch "^nvidia\\.com/mig-" $resource) -}}
{{- end -}}
{{- if $given }}true{{ end -}}
{{- end -}}

{{/* Of `ray start`. */}}
{{- define "psychechat.rayStartParams" -}}
{{- $params := deepCopy .group.rayStartParams -}}
{{- with .group.rayResources -}}
{{- $_ := set $params "resources" (toJson . | toJson) -}}
{{- end -}}
{{- if not (include "psychechat.hasGpus" .) -}}
{{- $_ := set $params "num-gpus" "0" -}}
{{- else if not (hasKey $params "num-gpus") -}}
{{- /* Limits whose names end in `gpu` are counted by KubeRay and by Ray's autoscaler, others by one of them or neither. */ -}}
{{- $counted := false -}}
{{- $others := 0 -}}
{{- range $resource, $amount := dig "resources" "limits" dict .group -}}
{{- if hasSuffix "gpu" $resource -}}
{{- $counted = true -}}
{{- else if or (hasSuffix "gpu.shared" $resource) (hasPrefix "nvidia.com/mig-" $resource) -}}
{{- $others = add $others (int $amount) -}}
{{- end -}}
{{- end -}}
{{- if and $others (not $counted) -}}
{{- $_ := set $params "num-gpus" (toString $others) -}}
{{- end -}}
{{- end -}}
{{- toYaml $params -}}
{{- end -}}

{{/* What Ray and Serve read from the environment, the same on the head and on every worker. */}}
{{- define "psychechat.env" -}}
{{- $root := .root -}}
{{- $ingress := include "psychechat.runsIngress" . -}}
{{- $models := .group.models -}}
{{- /* What engines compile is of one image: another has its own folder beside it. */ -}}
{{- $image := default (include "psychechat.image" $root) .group.image -}}
{{- $compiled := printf "/models/compiled/%s" (regexReplaceAll "[^A-Za-z0-9._-]+" $image "-" | trunc -120) -}}
{{- with $root -}}
{{- $drain := include "psychechat.drain" . | fromJson -}}
- {name: HOME, value: /home/psychechat}
- {name: HF_HOME, value: /models/huggingface}
- {name: VLLM_CACHE_ROOT, value: {{ $compiled }}/vllm}
- {name: TRITON_CACHE_DIR, value: {{ $compiled }}/triton}
- {name: FLASHINFER_WORKSPACE_BASE, value: {{ $compiled }}/flashinfer}
- {name: VLLM_USE_FLASHINFER_SAMPLER, value: "0"}
- {name: VLLM_NO_USAGE_STATS, value: "1"}
- {name: DO_NOT_TRACK, value: "1"}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT, value: "1000"}
- {name: RAY_process_group_cleanup_enabled, value: "1"}
- {name: RAY_SERVE_ENABLE_HA_PROXY, value: "1"}
- {name: RAY_SERVE_THROUGHPUT_OPTIMIZED, value: "1"}
- {name: RAY_SERVE_LOG_TO_STDERR, value: "1"}
- {name: RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, value: psychechat_ray.headers.middlewares}
{{- with .Values.haproxy.binaryPath }}
- {name: RAY_SERVE_HAPROXY_BINARY_PATH, value: {{ . }}}
{{- end }}
- {name: PSYCHECHAT_HAPROXY_TIMEOUT_HEADERS_S, value: {{ .Values.haproxy.timeoutHeadersSeconds | quote }}}
- {name: RAY_SERVE_HAPROXY_NBTHREAD, value: {{ .Values.haproxy.threads | quote }}}
- {name: RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S, value: {{ .Values.haproxy.timeoutClientSeconds | quote }}}
- {name: RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S, value: {{ .Values.haproxy.timeoutServerSeconds | quote }}}
- {name: RAY_SERVE_HAPROXY_LOG_TARGET, value: {{ .Values.haproxy.logTarget | quote }}}
- {name: RAY_SERVE_HAPROXY_METRICS_PORT, value: "9101"}
- {name: RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S, value: {{ $drain.hardStop | quote }}}
- {name: RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S, value: {{ .Values.drain.minDrainingSeconds | quote }}}
{{- if and $ingress .Values.redis.enabled (not .Values.secrets.redisUrl.existingSecret) (eq (dig "memory" "backend" "local" .Values.app) "redis") }}
- name: PSYCHECHAT_REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.redis.existingSecret }}, key: {{ .Values.redis.key }}}}
- {name: PSYCHECHAT_REDIS_URL, value: "redis://:$(PSYCHECHAT_REDIS_PASSWORD)@{{ include "psychechat.redisHost" . }}:6379/1"}
{{- end }}
{{- if $models }}
- {name: VLLM_ENGINE_READY_TIMEOUT_S, value: {{ int .Values.engineStartSeconds | quote }}}
{{- include "psychechat.hub" . }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- with .group.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Whether engines may ask the Hugging Face hub, and as whom. Takes the root. */}}
{{- define "psychechat.hub" -}}
{{- if .Values.modelCache.offline }}
- {name: HF_HUB_OFFLINE, value: "1"}
{{- end }}
{{- with .Values.secrets.huggingFace }}
{{- if .existingSecret }}
- name: HF_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "psychechat.filesOf" -}}
{{- if include "psychechat.runsIngress" . }}{{ include "psychechat.files" .root }}{{ else }}[]{{ end -}}
{{- end -}}

{{- define "psychechat.volumeMounts" -}}
{{- $root := .root -}}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /home/psychechat}
- {name: shm, mountPath: /dev/shm}
- {name: models, mountPath: /models}
{{- range include "psychechat.filesOf" . | fromJsonArray }}
- {name: {{ .name }}, mountPath: /etc/psychechat/{{ .name }}, readOnly: true}
{{- end }}
{{- with $root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The source of the volume that several pods have their models from. Empty if each has its own. Takes the root. */}}
{{- define "psychechat.modelVolume" -}}
{{- with .Values.modelCache -}}
{{- if .volume -}}
{{- toYaml .volume -}}
{{- else if or .enabled .existingClaim -}}
persistentVolumeClaim: {claimName: {{ default (printf "%s-models" (include "psychechat.fullname" $)) .existingClaim }}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "psychechat.volumes" -}}
{{- $root := .root -}}
- {name: tmp, emptyDir: {}}
- {name: home, emptyDir: {}}
- {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ .group.shmSize }}}}
- name: models
  {{- ternary (include "psychechat.modelVolume" $root) "emptyDir: {}" (and .group.models (ne (include "psychechat.modelVolume" $root) "")) | nindent 2 }}
{{- range include "psychechat.filesOf" . | fromJsonArray }}
- {name: {{ .name }}, secret: {secretName: {{ .secret.existingSecret }}}}
{{- end }}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "psychechat.pod" -}}
{{- $root := .root -}}
{{- $group := .group -}}
{{- $drain := include "psychechat.drain" $root | fromJson -}}
{{- $own := merge (dict "app.kubernetes.io/component" .component "psychechat/group" .name) (include "psychechat.podLabels" $root | fromYaml) -}}
{{- if $group.models -}}
{{- $_ := set $own "psychechat/models" "true" -}}
{{- end -}}
metadata:
  labels:
    {{- merge (deepCopy $own) (default dict $group.labels) $root.Values.commonLabels | toYaml | nindent 4 }}
  {{- with merge (deepCopy (default dict $group.annotations)) $root.Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "psychechat.serviceAccountName" $root }}
  # The autoscaler beside the head is who talks to Kubernetes.
  automountServiceAccountToken: {{ and (eq .component "head") $root.Values.autoscaler.enabled }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $drain.grace }}
  securityContext: {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $group.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $group.resourceClaims }}
  resourceClaims: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.spreadOver }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- toYaml $own | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with $group.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    # The first one is Ray's. KubeRay adds `ray start`, the port `metrics`, and probes that need bash and wget in the image.
    - name: ray-{{ .component }}
      image: {{ default (include "psychechat.image" $root) $group.image }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      # Runs before `ray start`: a core dump would hold what seekers wrote.
      command: [ulimit, -c, "0"]
      {{- if eq .component "worker" }}
      # Ray's processes end at once when the pod is told to stop. Before that its replicas move, and its turns end.
      lifecycle:
        preStop:
          exec: {command: [python, -m, psychechat_ray.drain, --seconds, {{ $drain.preStop | quote }}]}
      {{- end }}
      securityContext: {{- toYaml $root.Values.securityContext | nindent 8 }}
      resources: {{- toYaml $group.resources | nindent 8 }}
      ports:
        {{- if eq .component "head" }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        {{- end }}
        - {name: metrics, containerPort: 8080}
        - {name: serve, containerPort: {{ int $root.Values.app.port }}}
        - {name: haproxy-metrics, containerPort: 9101}
      env:
        {{- if not (include "psychechat.hasGpus" .) }}
        # Where NVIDIA's runtime is the default it would show all of the node's, and Ray would count them.
        - {name: NVIDIA_VISIBLE_DEVICES, value: void}
        {{- end }}
        {{- include "psychechat.env" . | nindent 8 }}
      {{- with $root.Values.extraEnvFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "psychechat.volumeMounts" . | nindent 8 }}
    {{- with $group.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "psychechat.volumes" . | nindent 4 }}
{{- end -}}
