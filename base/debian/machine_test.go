package debian_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/base"
	"github.com/camada/camada/base/debian"
	"github.com/camada/camada/base/debian/aptconfig"
	"github.com/camada/camada/errdefs"
)

// machine resolves against the archive that the machine's apt uses, or skips.
func machine(t *testing.T, o debian.Options) *debian.Plan {
	t.Helper()
	if testing.Short() {
		t.Skip("short: uses the network")
	}
	cfg, err := aptconfig.Read("/")
	if err != nil || len(cfg.Sources) == 0 {
		t.Skipf("apt of this machine names no archive (%v)", err)
	}
	if cfg.ID != "debian" {
		t.Skipf("this machine is not Debian but %q", cfg.ID)
	}
	// CAMADA_TEST_CACHE keeps the packages from one run to the next.
	if o.CacheDir = os.Getenv("CAMADA_TEST_CACHE"); o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	plan, err := debian.Resolve(t.Context(), o)
	if errdefs.IsUnavailable(err) {
		t.Skipf("the archive is out of reach: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plan.Close() })
	return plan
}

func digest(t *testing.T, tree *debian.Tree) string {
	t.Helper()
	h := sha256.New()
	if err := tree.WriteTar(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func fetchTree(t *testing.T, plan *debian.Plan) *debian.Tree {
	t.Helper()
	tree, err := plan.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func TestMachineDistroless(t *testing.T) {
	o := debian.Options{Variant: debian.Distroless, Include: []string{"libc6", "ca-certificates", "tzdata"}}
	plan := machine(t, o)
	tree := fetchTree(t, plan)
	var names []string
	for _, p := range tree.Packages() {
		names = append(names, p.Name)
	}
	for _, bad := range []string{"dash", "bash", "dpkg", "debconf", "perl-base", "openssl"} {
		if slices.Contains(names, bad) {
			t.Errorf("package %s is in %v", bad, names)
		}
	}
	again := fetchTree(t, machine(t, o))
	if a, b := digest(t, tree), digest(t, again); a != b {
		t.Errorf("two trees: %s and %s", a, b)
	}
	dir := extract(t, tree)
	bundle, err := os.ReadFile(filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil || bytes.Count(bundle, []byte("BEGIN CERTIFICATE")) < 50 {
		t.Errorf("bundle of certificates: %d bytes, %v", len(bundle), err)
	}
	for _, f := range []string{"etc/os-release", "usr/share/zoneinfo/Europe/Lisbon", "var/lib/dpkg/status.d/libc6", "lib64"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Error(err)
		}
	}
	for _, f := range []string{"bin/sh", "usr/bin/dpkg", "var/lib/dpkg/status"} {
		if _, err := os.Lstat(filepath.Join(dir, f)); err == nil {
			t.Errorf("%s is there", f)
		}
	}
}

func TestMachineMinbase(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: cannot change the root directory")
	}
	plan := machine(t, debian.Options{Include: []string{"ca-certificates"}})
	start := time.Now()
	tree := fetchTree(t, plan)
	t.Logf("fetched in %v, epoch %v, %d packages", time.Since(start), tree.Epoch, len(plan.Packages))
	one := installed(t, tree)
	first := one.listing(tree.Epoch) // before anything else writes into it
	audit := one.output("dpkg", "--audit")
	if audit != "" {
		t.Errorf("dpkg --audit: %s", audit)
	}
	have := map[string]string{}
	for line := range strings.Lines(one.output("dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\n")) {
		words := strings.Fields(line)
		have[words[0]] = words[1]
		if strings.Join(words[2:], " ") != "install ok installed" {
			t.Errorf("dpkg has %s", line)
		}
	}
	for _, p := range plan.Packages {
		if have[p.Name] != p.Version {
			t.Errorf("dpkg has version %q of %s, want %s", have[p.Name], p.Name, p.Version)
		}
	}
	if len(have) != len(plan.Packages) {
		t.Errorf("dpkg has %d packages, the plan %d", len(have), len(plan.Packages))
	}
	if got := one.output("dpkg", "--verify"); got != "" {
		t.Errorf("dpkg --verify: %s", got)
	}
	if got := one.output("apt-get", "--simulate", "reinstall", "hostname"); !strings.Contains(got, "1 reinstalled") && !strings.Contains(got, "cannot be downloaded") {
		t.Errorf("apt-get: %s", got)
	}
	if got := one.output("sh", "-c", "apt-get check && apt-mark showauto"); !strings.Contains(got, "openssl") || strings.Contains(got, "ca-certificates") {
		t.Errorf("apt has as automatically installed: %s", got)
	}
	two := installed(t, fetchTree(t, plan))
	if diff := differences(first, two.listing(tree.Epoch)); diff != "" {
		t.Errorf("two trees differ:\n%s", diff)
	}
}

// The same packages as apt itself chooses.
func TestMachineSamePackages(t *testing.T) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("no mmdebstrap to compare with")
	}
	plan := machine(t, debian.Options{ReleaseOnly: true})
	var want []string
	dir := t.TempDir()
	prefs := filepath.Join(dir, "preferences") // the tree is merged from the start
	if err := os.WriteFile(prefs, []byte("Package: usrmerge\nPin: release *\nPin-Priority: -1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "mmdebstrap", "--variant=minbase", "--simulate", "--verbose",
		"--aptopt=Dir::Etc::preferences \""+prefs+"\"", plan.Suite, filepath.Join(dir, "x.tar"), plan.Sources[0].URI).CombinedOutput()
	if err != nil {
		t.Skipf("mmdebstrap does not work here: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "Inst" {
			want = append(want, words[1])
		}
	}
	var got []string
	for _, p := range plan.Packages {
		got = append(got, p.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("packages are\n%v\nmmdebstrap has\n%v", got, want)
	}
}

func extract(t *testing.T, tree *debian.Tree) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "tar", "-x", "--numeric-owner", "-p", "-C", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var msg bytes.Buffer
	cmd.Stderr = &msg
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	werr := tree.WriteTar(t.Context(), in)
	in.Close()
	if err := cmd.Wait(); err != nil || werr != nil {
		t.Fatalf("tar: %v, %v: %s", err, werr, msg.String())
	}
	return dir
}

// chroot runs steps in a directory, in namespaces of their own.
type chroot struct {
	t   *testing.T
	dir string
}

const enter = `hostname localhost
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=755 dev "$0/dev"
for d in null zero full random urandom tty; do : > "$0/dev/$d"; mount --bind "/dev/$d" "$0/dev/$d"; done
root=$0
exec chroot "$root" "$@"`

func (c chroot) Run(ctx context.Context, s base.Step) error {
	start := time.Now()
	cmd := c.command(ctx, s)
	out, err := cmd.CombinedOutput()
	c.t.Logf("%s: %v, CPU %v", s.Name, time.Since(start), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (c chroot) command(ctx context.Context, s base.Step) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"-m", "-p", "-f", "-i", "-u", "-n", "sh", "-ec", enter, c.dir}, s.Args...)...)
	cmd.Env = s.Env
	return cmd
}

func (c chroot) output(args ...string) string {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := c.command(c.t.Context(), base.Step{Args: args, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}})
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("%v: %v: %s%s", args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func installed(t *testing.T, tree *debian.Tree) chroot {
	t.Helper()
	c := chroot{t, extract(t, tree)}
	if err := base.Run(t.Context(), c, tree.Steps()); err != nil {
		t.Fatal(err)
	}
	return c
}

// differences names the files that are not the same in both trees.
func differences(a, b map[string]string) string {
	var out strings.Builder
	for name, v := range a {
		if b[name] != v {
			fmt.Fprintf(&out, "%s: %s, %s\n", name, v, b[name])
		}
	}
	for name := range b {
		if a[name] == "" {
			fmt.Fprintf(&out, "%s is in one only\n", name)
		}
	}
	return out.String()
}

func (c chroot) listing(epoch time.Time) map[string]string {
	c.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(c.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		at := st.ModTime()
		if at.After(epoch) {
			at = epoch
		}
		v := fmt.Sprint(st.Mode(), " ", at.UTC().Format(time.RFC3339))
		switch {
		case st.Mode().IsRegular():
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			h := sha256.New()
			if _, err := io.Copy(h, f); err != nil {
				return err
			}
			v += fmt.Sprintf(" %x", h.Sum(nil)[:8])
		case st.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(name)
			if err != nil {
				return err
			}
			v += " " + to
		}
		out[strings.TrimPrefix(name, c.dir)] = v
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}
