package test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kubernetesPrograms is a directory with the programs of a Kubernetes, which are built when they are not there (kubernetes/build.sh).
func kubernetesPrograms(t *testing.T) string {
	t.Helper()
	if !long() {
		t.Skip("builds and starts a Kubernetes, which takes minutes: CAMADA_TEST_LONG=1")
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < 15*time.Minute {
		t.Skip("to build a Kubernetes may need a quarter of an hour: go test -timeout 30m")
	}
	dir := os.Getenv("CAMADA_KUBERNETES")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(cache, "camada-peers/kubernetes")
	}
	if out, err := exec.Command("kubernetes/build.sh", dir).CombinedOutput(); err != nil {
		t.Skipf("Kubernetes cannot be built here: %v\n%s", err, out)
	}
	return dir
}

// apiServer is the server of a Kubernetes without nodes: it keeps what it is told, and asks webhooks.
type apiServer struct {
	t                *testing.T
	programs, config string
}

// startAPIServer starts one, with its database, on loopback.
func startAPIServer(t *testing.T, programs string) *apiServer {
	t.Helper()
	dir := t.TempDir()
	start := func(name string, args ...string) {
		t.Helper()
		log, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(programs, name), args...)
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if b, _ := os.ReadFile(log.Name()); t.Failed() {
				t.Logf("%s: %s", name, b[max(0, len(b)-4096):])
			}
			log.Close()
		})
	}
	database, peer, port := "http://"+freeAddress(t), "http://"+freeAddress(t), freeAddress(t)
	_, number, _ := net.SplitHostPort(port)
	start("etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", database, "--advertise-client-urls", database, "--listen-peer-urls", peer, "--unsafe-no-fsync")
	if out, err := exec.Command("openssl", "genrsa", "-out", filepath.Join(dir, "sa.key"), "2048").CombinedOutput(); err != nil {
		t.Skipf("no key: %v %s", err, out)
	}
	write(t, dir, "tokens", "secret,admin,admin,system:masters\n", "kubeconfig", fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
  "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {"token": "secret"}}],
  "clusters": [{"name": "c", "cluster": {"server": "https://%s", "insecure-skip-tls-verify": true}}]}`, port))
	start("kube-apiserver", "--etcd-servers", database, "--cert-dir", filepath.Join(dir, "certs"), "--token-auth-file", filepath.Join(dir, "tokens"),
		"--authorization-mode", "AlwaysAllow", "--service-account-issuer", "https://kubernetes.default", "--service-account-key-file", filepath.Join(dir, "sa.key"),
		"--service-account-signing-key-file", filepath.Join(dir, "sa.key"), "--service-cluster-ip-range", "10.85.0.0/24", "--endpoint-reconciler-type", "none",
		"--advertise-address", "10.83.0.1", "--bind-address", "127.0.0.1", "--secure-port", number, "--disable-admission-plugins", "ServiceAccount")
	a := &apiServer{t: t, programs: programs, config: filepath.Join(dir, "kubeconfig")}
	for range 300 {
		if _, err := a.kubectl("", "get", "--raw", "/readyz"); err == nil {
			return a
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("the server of Kubernetes does not answer")
	return nil
}

// freeAddress is an address of loopback that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (a *apiServer) kubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(a.programs, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+a.config)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestAdmissionToKubernetes has the server of a real Kubernetes ask camada, with the webhook's configuration that we give to users.
func TestAdmissionToKubernetes(t *testing.T) {
	programs := kubernetesPrograms(t)
	c, dir := policyImages(t)
	images := startServe(t, c.bin, filepath.Join(t.TempDir(), "data"), "127.0.0.1:0")
	good, bad := images.host+"/team/good:1", images.host+"/team/bad:1"
	for image, name := range map[string]string{"good:1": good, "bad:1": bad} {
		c.run("tag", image, name)
		c.run("push", "--progress", "quiet", name)
	}
	write(t, dir, "policy.yaml", `rules: [{name: owned, on: deploy, labels: owner}]`)
	cert, key := webhookCertificate(t)
	url, end := startAdmission(t, c, "policy serve", "--policy", filepath.Join(dir, "policy.yaml"), "--tls-certificate", cert, "--tls-key", key, "--root", filepath.Join(t.TempDir(), "judge"))
	defer end()
	a := startAPIServer(t, programs)

	given, err := os.ReadFile("../deploy/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(string(given), "\n---\n")
	hook := documents[len(documents)-1]
	authority, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"service: {name: camada-policy, namespace: camada-policy, path: /validate}": "url: " + url + "/validate",
		`caBundle: ""`: "caBundle: " + base64.StdEncoding.EncodeToString(authority),
	} {
		if !strings.Contains(hook, from) {
			t.Fatalf("deploy/admission.yaml has no %s", from)
		}
		hook = strings.Replace(hook, from, to, 1)
	}
	if out, err := a.kubectl(hook, "create", "-f", "-"); err != nil {
		t.Fatal(out)
	}
	deployment := func(name, image string) string {
		return fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": %q}, "spec": {"selector": {"matchLabels": {"app": %[1]q}},
  "template": {"metadata": {"labels": {"app": %[1]q}}, "spec": {"containers": [{"name": "c", "image": %q}]}}}}`, name, image)
	}
	pod := func(name, image string) string {
		return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q}, "spec": {"containers": [{"name": "c", "image": %q}]}}`, name, image)
	}
	heard := false // the server takes over a new webhook in its own time
	for i := 0; i < 100 && !heard; i++ {
		out, err := a.kubectl(deployment(fmt.Sprintf("early-%d", i), bad), "create", "-f", "-")
		heard = err != nil && strings.Contains(out, "rule owned")
		if !heard {
			time.Sleep(200 * time.Millisecond)
		}
	}
	for _, tc := range []struct {
		what, object string
		verb         []string
		refused      bool
	}{
		{"a deployment", deployment("web", good), []string{"create"}, false},
		{"a deployment that is refused", deployment("other", bad), []string{"create"}, true},
		{"an update that is refused", deployment("web", bad), []string{"apply"}, true},
		{"a pod", pod("one", good), []string{"create"}, false},
		{"a pod that is refused", pod("two", bad), []string{"create"}, true},
		{"an image that is not there", pod("three", images.host+"/team/none:1"), []string{"create"}, true},
		{"a pod of the cluster's own", pod("four", bad), []string{"--namespace", "kube-system", "create"}, false},
	} {
		out, err := a.kubectl(tc.object, append(tc.verb, "-f", "-")...)
		if (err != nil) != tc.refused || tc.refused && !strings.Contains(out, "validate.camada-policy.svc") {
			t.Errorf("%s: %v %s", tc.what, err, out)
		}
		if strings.HasSuffix(tc.what, "is refused") && !strings.Contains(out, "rule owned") {
			t.Errorf("%s: the rule is not named: %s", tc.what, out)
		}
	}
}
