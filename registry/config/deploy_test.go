package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/internal/yamltree"
)

// at finds a value of a document: "spec.template.spec.containers.0.image".
func at(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			if v = nil; part == "0" && len(x) > 0 {
				v = x[0]
			}
		default:
			return nil
		}
	}
	return v
}

func documents(t *testing.T, data []byte) []any {
	t.Helper()
	docs, err := yamltree.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(docs, func(d any) bool { return d == nil })
}

// What deploy/ has for compose is a configuration that can be read, and a container that may do little.
func TestCompose(t *testing.T) {
	data, err := os.ReadFile("../../deploy/registry.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(data, "/etc/camada"); err != nil {
		t.Errorf("registry.yaml: %v", err)
	}
	if data, err = os.ReadFile("../../deploy/compose.yaml"); err != nil {
		t.Fatal(err)
	}
	docs := documents(t, data)
	if len(docs) != 1 {
		t.Fatalf("%d documents", len(docs))
	}
	for path, want := range map[string]any{
		"services.registry.user": "65532:65532", "services.registry.read_only": true, "services.registry.cap_drop.0": "ALL", "services.registry.security_opt.0": "no-new-privileges:true",
		"services.registry.ports.0": "127.0.0.1:${CAMADA_PORT:-5000}:5000", "services.registry.volumes.0": "data:/data", "services.registry.command.0": "serve",
	} {
		if got := at(docs[0], path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

// The chart renders for each way to deploy, and what it configures can be read.
func TestChart(t *testing.T) {
	p := peers.Need(t, "helm")
	chart, err := filepath.Abs("../../deploy/helm")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HELM_CACHE_HOME", p.Path("cache"))
	t.Setenv("HELM_CONFIG_HOME", p.Path("config"))
	t.Setenv("HELM_DATA_HOME", p.Path("data"))
	p.Write("all.yaml", `
replicas: 3
image: {digest: "sha256:`+strings.Repeat("a", 64)+`"}
config:
  s3: {endpoint: "https://s3.example.org", bucket: registry}
  rules: [{repositories: "**", users: "*", actions: [pull, push]}]
  tokens: {life: 10m}
s3Secret: s3
usersSecret: users
tlsSecret: tls
env: [{name: OTEL_SERVICE_NAME, value: reg}]
ingress: {enabled: true, className: nginx, host: reg.example.org, tlsSecret: public}
serviceMonitor: {enabled: true, basicAuthSecret: metrics}
networkPolicy: {from: [{podSelector: {}}], to: [{ipBlock: {cidr: 10.0.0.0/8}}]}
imagePullSecrets: [{name: pull}]
podAnnotations: {a: b}
nodeSelector: {disk: ssd}
tolerations: [{operator: Exists}]
`)
	p.Run("helm", "lint", "--strict", chart)
	p.Run("helm", "lint", "--strict", chart, "-f", p.Path("all.yaml"))
	for name, tc := range map[string]struct {
		args  []string
		kinds []string
	}{
		"a volume": {nil, []string{"ConfigMap", "NetworkPolicy", "Secret", "Service", "ServiceAccount", "StatefulSet"}},
		"replicas": {[]string{"-f", p.Path("all.yaml")}, []string{"ConfigMap", "Deployment", "Ingress", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Service", "ServiceAccount", "ServiceMonitor"}},
		"little":   {[]string{"--set", "tokenKeySecret=key,networkPolicy.enabled=false,serviceAccount.create=false"}, []string{"ConfigMap", "Service", "StatefulSet"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := p.In(t).Run("helm", append([]string{"template", "reg", chart, "--namespace", "ns", "--kube-version", "1.35.0"}, tc.args...)...)
			var kinds []string
			for _, d := range documents(t, []byte(out)) {
				kind, _ := at(d, "kind").(string)
				kinds = append(kinds, kind)
				switch kind {
				case "ConfigMap":
					text, _ := at(d, "data").(map[string]any)["registry.yaml"].(string)
					c, err := Parse([]byte(text), "/etc/camada/config")
					if err != nil || c.Tokens.KeyFile != "/etc/camada/secret/token/token.key" || (name == "replicas") != (c.Users != "" && c.Cert != "" && c.S3.Bucket != "" && c.Tokens.Life > 0) {
						t.Errorf("%v: %s", err, text)
					}
				case "Deployment", "StatefulSet":
					for path, want := range map[string]any{
						"spec.template.spec.securityContext.runAsNonRoot": true, "spec.template.spec.containers.0.securityContext.readOnlyRootFilesystem": true,
						"spec.template.spec.containers.0.securityContext.allowPrivilegeEscalation": false, "spec.template.spec.containers.0.securityContext.capabilities.drop.0": "ALL",
						"spec.template.spec.containers.0.livenessProbe.httpGet.path": "/livez", "spec.template.spec.containers.0.readinessProbe.httpGet.path": "/readyz",
						"spec.template.spec.automountServiceAccountToken": false, "spec.selector.matchLabels": nil,
					} {
						got := at(d, path)
						if want == nil {
							labels, _ := got.(map[string]any)
							of, _ := at(d, "spec.template.metadata.labels").(map[string]any)
							for k, v := range labels {
								if of[k] != v {
									t.Errorf("the pods' label %s is %v, and %v is looked for", k, of[k], v)
								}
							}
							continue
						}
						if got != want {
							t.Errorf("%s is %v, want %v", path, got, want)
						}
					}
				}
			}
			slices.Sort(kinds)
			if !slices.Equal(kinds, tc.kinds) {
				t.Errorf("%v, want %v", kinds, tc.kinds)
			}
		})
	}
	// Only what a registry does not read again by itself starts pods anew.
	pods := func(set string) any {
		for _, d := range documents(t, []byte(p.Run("helm", "template", "reg", chart, "--kube-version", "1.35.0", "--set", set))) {
			if at(d, "kind") == "StatefulSet" {
				return at(d, "spec.template.metadata.annotations").(map[string]any)["camada/restart"]
			}
		}
		return nil
	}
	if one := pods("config.limits.rate=5"); one == nil || one != pods("config.limits.rate=6") || one != pods("config.sweep.every=1h") || one == pods("config.traces.endpoint=http://x:4318") || one == pods("tlsSecret=tls") {
		t.Error("what starts pods anew")
	}
	for _, set := range []string{"replicas=2", "config.listen=x", "nonsense=1", "service.type=x"} {
		if _, err := p.Try("helm", "template", "reg", chart, "--kube-version", "1.35.0", "--set", set); err == nil {
			t.Errorf("%s is taken", set)
		}
	}
}
