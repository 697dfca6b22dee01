{{- /* What both kinds of workloads have: metadata and spec of their pods. */ -}}
{{- define "camada.pod" -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty .Values.tlsSecret)) -}}
metadata:
  labels:
    {{- include "camada.selector" . | nindent 4 }}
  annotations:
    # Only what needs a restart: all else of the configuration is read again by itself.
    camada/restart: {{ toJson (list (pick .Values.config "s3" "traces") .Values.tlsSecret .Values.s3Secret .Values.env) | sha256sum | trunc 16 | quote }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "camada.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add 40 .Values.preStopSeconds }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: registry
      image: {{ include "camada.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --addr, ":5000", --data, /data/registry, --config, /etc/camada/config/registry.yaml]
      ports:
        - {name: registry, containerPort: 5000, protocol: TCP}
      {{- if or .Values.env .Values.s3Secret }}
      env:
        {{- if .Values.s3Secret }}
        {{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
        - name: {{ . }}
          valueFrom: {secretKeyRef: {name: {{ $.Values.s3Secret | quote }}, key: {{ . }}}}
        {{- end }}
        {{- end }}
        {{- with .Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      livenessProbe:
        httpGet: {path: /livez, port: registry, scheme: {{ $scheme }}}
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: registry, scheme: {{ $scheme }}}
        periodSeconds: 5
        timeoutSeconds: 6
      startupProbe:
        httpGet: {path: /livez, port: registry, scheme: {{ $scheme }}}
        periodSeconds: 2
        failureThreshold: 150
      {{- if .Values.preStopSeconds }}
      lifecycle:
        preStop: {sleep: {seconds: {{ .Values.preStopSeconds }}}}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: config, mountPath: /etc/camada/config, readOnly: true}
        - {name: token, mountPath: /etc/camada/secret/token, readOnly: true}
        {{- if .Values.usersSecret }}
        - {name: users, mountPath: /etc/camada/secret/users, readOnly: true}
        {{- end }}
        {{- if .Values.tlsSecret }}
        - {name: tls, mountPath: /etc/camada/secret/tls, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "camada.name" . }}}
    - name: token
      secret: {secretName: {{ include "camada.tokenKey" . | quote }}, defaultMode: 0440}
    {{- if .Values.usersSecret }}
    - name: users
      secret: {secretName: {{ .Values.usersSecret | quote }}, defaultMode: 0440}
    {{- end }}
    {{- if .Values.tlsSecret }}
    - name: tls
      secret: {secretName: {{ .Values.tlsSecret | quote }}, defaultMode: 0440}
    {{- end }}
    {{- if .Values.config.s3 }}
    - name: data
      emptyDir: {sizeLimit: 1Gi}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
