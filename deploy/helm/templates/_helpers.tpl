{{- define "camada.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "camada.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "camada.labels" -}}
{{ include "camada.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "camada.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "camada.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "camada.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- define "camada.tokenKey" -}}
{{ default (printf "%s-token-key" (include "camada.name" .)) .Values.tokenKeySecret }}
{{- end }}

{{- /* The registry's configuration: what is given, and what the chart mounts. */ -}}
{{- define "camada.config" -}}
{{- $c := deepCopy .Values.config -}}
{{- if or (hasKey $c "listen") (hasKey $c "data") }}{{ fail "config.listen and config.data are the chart's" }}{{ end -}}
{{- if and (gt (int .Values.replicas) 1) (not $c.s3) }}{{ fail "more than one replica needs an object store: config.s3" }}{{ end -}}
{{- if .Values.usersSecret }}{{ $_ := set $c "users" "/etc/camada/secret/users/htpasswd" }}{{ end -}}
{{- if .Values.tlsSecret }}{{ $_ := set $c "tls" (dict "certificate" "/etc/camada/secret/tls/tls.crt" "key" "/etc/camada/secret/tls/tls.key") }}{{ end -}}
{{- $_ := set $c "tokens" (merge (dict "key" "/etc/camada/secret/token/token.key") (default dict $c.tokens)) -}}
{{ toYaml $c }}
{{- end }}
