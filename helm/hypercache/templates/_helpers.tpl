{{/* The name of what the chart makes. */}}
{{- define "hypercache.name" -}}
{{- default "hypercache-operator" .Values.nameOverride -}}
{{- end -}}

{{/* Not empty where the Prometheus operator's API is: without it, nothing of it is made. */}}
{{- define "hypercache.hasMonitoringApi" -}}
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}true{{- end -}}
{{- end -}}

{{/* Not empty where the operator's /metrics has a Service. */}}
{{- define "hypercache.hasMetricsService" -}}
{{- with .Values.monitoring -}}
{{- if or .enabled (and (.serviceMonitor).enabled (include "hypercache.hasMonitoringApi" $)) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hypercache.selector" -}}
app.kubernetes.io/name: hypercache-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hypercache.labels" -}}
{{ include "hypercache.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: hypercache
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "hypercache.filebeat.selector" -}}
app.kubernetes.io/name: hypercache-filebeat
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hypercache.filebeat.labels" -}}
{{ include "hypercache.filebeat.selector" . }}
app.kubernetes.io/component: logging
app.kubernetes.io/part-of: hypercache
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "hypercache.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "hypercache.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What the operator does, verb by verb. A test compares it with what the operator sends. */}}
{{- define "hypercache.rules" -}}
- apiGroups: [hypercache.io]
  resources: [hypercacheclusters]
  verbs: [list, watch]
- apiGroups: [hypercache.io]
  resources: [hypercacheclusters/status]
  verbs: [patch]
# `create` as well as `patch`: server-side apply makes what is not there.
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
