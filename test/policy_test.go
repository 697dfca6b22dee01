package test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// policyImages makes a store with an image, its tags and a registry that has a policy; what it refuses is said to everybody who pushes and pulls.
func policyImages(t *testing.T) (*ours, string) {
	t.Helper()
	c := &ours{t: t, bin: shipped(t), root: filepath.Join(t.TempDir(), "store")}
	dir := t.TempDir()
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY Dockerfile /\nLABEL owner=me\n", "registry.yaml", "policy: policy.yaml\n", "policy.yaml", `
rules:
  - {name: no-latest, on: [store, deploy], match: "localhost/**", tag-not: latest}
  - {name: owned, on: [store, pull], labels: owner, fix: say whose it is}
`)
	c.run("build", "-q", "-t", "good:1", dir)
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
	c.run("build", "-q", "-t", "bad:1", dir)
	return c, dir
}

func TestPolicyOfRegistry(t *testing.T) {
	c, dir := policyImages(t)
	s := startServe(t, c.bin, filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "--root", filepath.Join(t.TempDir(), "judge"), "--config", filepath.Join(dir, "registry.yaml"))
	push := func(image, name string, want ...string) {
		t.Helper()
		c.run("tag", image, s.host+"/"+name)
		_, stderr, code := c.talk("push", "--progress", "quiet", s.host+"/"+name)
		if (code == 0) != (len(want) == 0) {
			t.Errorf("push of %s as %s: exit code %d\n%s", image, name, code, stderr)
		}
		for _, w := range want {
			if !strings.Contains(stderr, w) {
				t.Errorf("push of %s as %s says %q, and not %q", image, name, stderr, w)
			}
		}
	}
	push("good:1", "team/app:1")
	push("good:1", "team/app:latest", "rule no-latest", "the tag is latest")
	push("bad:1", "team/bad:1", "rule owned", "there is no label owner", "say whose it is")

	// A manifest without a tag may come, to be signed first; but nobody gets it.
	manifest, kind := storedManifest(t, c, "bad:1")
	dgst := putManifest(t, s.host, "team/bad", manifest, kind, "", http.StatusCreated)
	status, body := httpAnswer(t, "GET", "http://"+s.host+"/v2/team/bad/manifests/"+dgst)
	var refusal struct {
		Errors []struct {
			Code, Message string
			Detail        struct {
				Rules []struct{ Rule, Message, Fix string }
			}
		}
	}
	if err := json.Unmarshal(body, &refusal); err != nil || status != http.StatusForbidden || len(refusal.Errors) != 1 || refusal.Errors[0].Code != "DENIED" ||
		len(refusal.Errors[0].Detail.Rules) != 1 || refusal.Errors[0].Detail.Rules[0].Rule != "owned" || refusal.Errors[0].Detail.Rules[0].Fix != "say whose it is" {
		t.Errorf("GET of what is refused: %d %s", status, body)
	}
	if status, _ := httpAnswer(t, "HEAD", "http://"+s.host+"/v2/team/bad/manifests/"+dgst); status != http.StatusForbidden {
		t.Errorf("HEAD of what is refused: %d", status)
	}
	putManifest(t, s.host, "team/bad", manifest, kind, "2", http.StatusForbidden)
	if status, _ := httpAnswer(t, "GET", "http://"+s.host+"/v2/team/bad/manifests/2"); status != http.StatusNotFound {
		t.Errorf("the tag that was refused is there: %d", status)
	}

	// An index is what its images are.
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest"}}]}`, kind, dgst, len(manifest))
	putManifest(t, s.host, "team/bad", []byte(index), "application/vnd.oci.image.index.v1+json", "3", http.StatusForbidden)
	for _, method := range []string{"GET", "HEAD"} {
		if status, _ := httpAnswer(t, method, "http://"+s.host+"/v2/team/app/manifests/1"); status != http.StatusOK {
			t.Errorf("%s of what is allowed: %d", method, status)
		}
	}

	// One that is missing is answered as ever.
	lacking := bytes.ReplaceAll(manifest, []byte(`"config":{`), []byte(`"config":{"annotations":{},`))
	lacking = bytes.Replace(lacking, []byte("sha256:"), []byte("sha256:0000"), 1)
	lacking = cutHex(lacking)
	putManifest(t, s.host, "team/bad", lacking, kind, "4", http.StatusNotFound)
	skopeoIsRefused(t, s.host)
}

// cutHex gives the first digest its length again.
func cutHex(b []byte) []byte {
	i := bytes.Index(b, []byte("sha256:0000"))
	end := i + bytes.IndexByte(b[i:], '"')
	return append(append([]byte{}, b[:end-4]...), b[end:]...)
}

// skopeoIsRefused has another client read what the registry says.
func skopeoIsRefused(t *testing.T, host string) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Log("skopeo is not installed: what it says of a refusal is not looked at")
		return
	}
	layout := t.TempDir()
	copied := func(to string) (string, error) {
		out, err := exec.Command("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+host+"/team/app:1", to).CombinedOutput()
		return string(out), err
	}
	if out, err := copied("oci:" + layout + ":x"); err != nil {
		t.Errorf("skopeo cannot pull what is allowed: %v\n%s", err, out)
	}
	if out, err := copied("docker://" + host + "/team/app:latest"); err == nil || !strings.Contains(out, "the tag is latest") {
		t.Errorf("skopeo pushes what is refused, or does not say why: %v\n%s", err, out)
	}
}

func httpAnswer(t *testing.T, method, url string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// storedManifest is the manifest of an image, and its media type.
func storedManifest(t *testing.T, c *ours, name string) ([]byte, string) {
	t.Helper()
	id := strings.TrimSpace(c.run("images", "--digests", "--format", "{{.Digest}}", name))
	data, err := os.ReadFile(filepath.Join(c.root, "blobs/sha256", strings.TrimPrefix(id, "sha256:")))
	if err != nil {
		t.Fatal(err)
	}
	return data, "application/vnd.oci.image.manifest.v1+json"
}

// putManifest sends a manifest, with a tag or by its digest, and returns the digest.
func putManifest(t *testing.T, host, repository string, data []byte, kind, tag string, want int) string {
	t.Helper()
	dgst := digest.FromBytes(data).String()
	at := tag
	if at == "" {
		at = dgst
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+"/v2/"+repository+"/manifests/"+at, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != want {
		t.Errorf("PUT of %s as %s: %d, want %d\n%s", repository, at, resp.StatusCode, want, body)
	}
	return dgst
}

// review is an AdmissionReview of what a Kubernetes 1.3x sends, shortened.
func review(operation, group, kind, namespace, object, old string) string {
	return fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","kind":{"group":%q,"version":"v1","kind":%q},
		"resource":{"group":%q,"version":"v1","resource":"x"},"name":"web","namespace":%q,"operation":%q,"userInfo":{"username":"ann","groups":["system:authenticated"]},
		"object":%s,"oldObject":%s,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`, group, kind, group, namespace, operation, object, old)
}

func TestAdmission(t *testing.T) {
	c, dir := policyImages(t)
	images := startServe(t, c.bin, filepath.Join(t.TempDir(), "data"), "127.0.0.1:0")
	good, bad := images.host+"/team/good:1", images.host+"/team/bad:1"
	for image, name := range map[string]string{"good:1": good, "bad:1": bad} {
		c.run("tag", image, name)
		c.run("push", "--progress", "quiet", name)
	}
	write(t, dir, "policy.yaml", `rules: [{name: owned, on: deploy, labels: owner}, {name: prod, on: deploy, namespaces: prod, pinned: true, mode: warn},
  {name: ours, on: deploy, namespaces: fenced, allowed: "registry.example.com/**"}]`)
	cert, key := webhookCertificate(t)
	url, end := startAdmission(t, c, "policy serve", "--policy", filepath.Join(dir, "policy.yaml"), "--tls-certificate", cert, "--tls-key", key, "--mutate", "--exempt-namespace", "kube-*", "--root", filepath.Join(t.TempDir(), "judge"))
	defer end()
	pod := func(images ...string) string {
		var list []string
		for i, image := range images {
			list = append(list, fmt.Sprintf(`{"name":"c%d","image":%q}`, i, image))
		}
		return `{"containers":[` + strings.Join(list, ",") + `],"restartPolicy":"Always"}`
	}
	whole := func(spec string) string {
		return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":` + spec + `}`
	}
	template := func(spec string) string {
		return `{"spec":{"replicas":2,"template":{"metadata":{},"spec":` + spec + `}}}`
	}
	for _, tc := range []struct {
		what, review string
		want         string // of the refusal; "" is none
	}{
		{"a pod", review("CREATE", "", "Pod", "test", whole(pod(good)), "null"), ""},
		{"a pod that is refused", review("CREATE", "", "Pod", "test", whole(pod(good, bad)), "null"), "rule owned"},
		{"an init container", review("CREATE", "", "Pod", "test", whole(`{"initContainers":[{"name":"i","image":"`+bad+`"}],"containers":[{"name":"c","image":"`+good+`"}]}`), "null"), "rule owned"},
		{"an ephemeral container", review("UPDATE", "", "Pod", "test", whole(`{"ephemeralContainers":[{"name":"i","image":"`+bad+`"}],"containers":[{"name":"c","image":"`+good+`"}]}`), whole(pod(good))), "rule owned"},
		{"a volume", review("CREATE", "", "Pod", "test", whole(`{"volumes":[{"name":"v","image":{"reference":"`+bad+`"}}],"containers":[{"name":"c","image":"`+good+`"}]}`), "null"), "rule owned"},
		{"an exempt namespace", review("CREATE", "", "Pod", "kube-system", whole(pod(bad)), "null"), ""},
		{"a deployment", review("CREATE", "apps", "Deployment", "test", template(pod(bad)), "null"), "rule owned"},
		{"an update that changes nothing", review("UPDATE", "apps", "Deployment", "test", template(pod(bad)), template(pod(bad))), ""},
		{"an update", review("UPDATE", "apps", "StatefulSet", "test", template(pod(bad)), template(pod(good))), "rule owned"},
		{"a cron job", review("CREATE", "batch", "CronJob", "test", `{"spec":{"jobTemplate":`+template(pod(bad))+`}}`, "null"), "rule owned"},
		{"a job", review("CREATE", "batch", "Job", "test", template(pod(good)), "null"), ""},
		{"a template", review("CREATE", "", "PodTemplate", "test", `{"template":{"spec":`+pod(bad)+`}}`, "null"), "rule owned"},
		{"another kind", review("CREATE", "", "ConfigMap", "test", `{"data":{}}`, "null"), ""},
		{"a removal", review("DELETE", "", "Pod", "test", "null", whole(pod(bad))), ""},
		{"an image that is not there", review("CREATE", "", "Pod", "test", whole(pod(images.host+"/team/none:1")), "null"), "cannot know"},
		{"a registry that is not there", review("CREATE", "", "Pod", "test", whole(pod("127.0.0.1:1/x:1")), "null"), "cannot know"},
		{"a registry that is not asked", review("CREATE", "", "Pod", "fenced", whole(pod("127.0.0.1:1/x:1")), "null"), "rule ours"},
		{"a name that is none", review("CREATE", "", "Pod", "test", whole(pod("UPPER CASE")), "null"), "cannot know"},
		{"a pod without a description", review("CREATE", "", "Pod", "test", `{"metadata":{}}`, "null"), "spec is missing"},
		{"a container without an image", review("CREATE", "", "Pod", "test", whole(`{"containers":[{"name":"c"}]}`), "null"), "has no image"},
		{"keys in another case", review("CREATE", "", "Pod", "test", whole(`{"containers":[{"name":"c","image":"`+bad+`","Image":"`+good+`"}]}`), "null"), "written unlike image"},
	} {
		got := admitted(t, url+"/validate", tc.review)
		if got.Allowed != (tc.want == "") || tc.want != "" && !strings.Contains(got.Status.Message, tc.want) || got.UID != "705ab4f5-6393-11e8-b7cc-42010a800002" {
			t.Errorf("%s: %+v, want %q", tc.what, got, tc.want)
		}
	}
	if got := admitted(t, url+"/validate", review("CREATE", "", "Pod", "prod", whole(pod(good)), "null")); !got.Allowed || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "rule prod") {
		t.Errorf("a warning: %+v", got)
	}
	got := admitted(t, url+"/mutate", review("CREATE", "", "Pod", "test", whole(pod(good)), "null"))
	patch, err := base64.StdEncoding.DecodeString(got.Patch)
	manifest, _ := storedManifest(t, c, "good:1")
	want := fmt.Sprintf(`[{"op":"replace","path":"/spec/containers/0/image","value":%q}]`, good+"@"+digest.FromBytes(manifest).String())
	if err != nil || !got.Allowed || got.PatchType != "JSONPatch" || string(patch) != want {
		t.Errorf("a patch: %+v %s %v, want %s", got, patch, err, want)
	}
	if got := admitted(t, url+"/mutate", review("CREATE", "", "Pod", "test", whole(pod(bad)), "null")); got.Allowed {
		t.Errorf("a mutating webhook alone lets everything through: %+v", got)
	}
	strangeReviews(t, url)
	same, endSame := startAdmission(t, c, "serve --admission", "--policy", filepath.Join(dir, "policy.yaml"), "--tls-certificate", cert, "--tls-key", key, "--root", filepath.Join(t.TempDir(), "judge"))
	defer endSame()
	if got := admitted(t, same+"/validate", review("CREATE", "", "Pod", "test", whole(pod(bad)), "null")); got.Allowed || !strings.Contains(got.Status.Message, "rule owned") {
		t.Errorf("serve --admission: %+v", got)
	}
}

// strangeReviews sends what is no review.
func strangeReviews(t *testing.T, url string) {
	t.Helper()
	for body, want := range map[string]int{"{": 400, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`: 400, strings.Replace(review("CREATE", "", "Pod", "", "{}", "null"), "io/v1", "io/v9", 1): 400} {
		if status := posted(t, url+"/validate", body, nil); status != want {
			t.Errorf("%.40s: %d, want %d", body, status, want)
		}
	}
}

// webhookCertificate makes a certificate for this machine, in two files.
func webhookCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}

type admission struct {
	UID     string
	Allowed bool
	Status  struct {
		Message string
		Code    int
	}
	Warnings  []string
	PatchType string
	Patch     string
}

// admitted sends a review and returns the answer.
func admitted(t *testing.T, url, body string) admission {
	t.Helper()
	var out struct {
		APIVersion, Kind string
		Response         admission
	}
	if status := posted(t, url, body, &out); status != http.StatusOK || out.APIVersion != "admission.k8s.io/v1" || out.Kind != "AdmissionReview" {
		t.Fatalf("%s: status %d, %+v", url, status, out)
	}
	return out.Response
}

func posted(t *testing.T, url, body string, v any) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	return resp.StatusCode
}

// startAdmission starts the webhook and returns where it is.
func startAdmission(t *testing.T, c *ours, verb string, flags ...string) (url string, end func()) {
	t.Helper()
	cmd := exec.Command(c.bin, append(append(strings.Fields(verb), "--addr", "127.0.0.1:0"), flags...)...)
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ends with %v", verb, err)
		}
	}
	buf := make([]byte, 200)
	n, err := out.Read(buf)
	_, url, ok := strings.Cut(strings.TrimSpace(string(buf[:n])), " at ")
	if err != nil || !ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("%s says %q: %v", verb, buf[:n], err)
	}
	return url, end
}
