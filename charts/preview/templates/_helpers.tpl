{{- define "preview.labels" -}}
app.kubernetes.io/name: preview
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "preview.selector" -}}
app.kubernetes.io/name: preview
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
