package debian

import (
	"fmt"
	"strings"

	"github.com/camada/camada/base"
	"github.com/camada/camada/base/debian/index"
)

// Steps are the commands that make an unpacked Minbase tree an installed one,
// in their order; none for Distroless. They are shell scripts and dpkg:
//
//   - prepare: keep services from being started, and run the preinst scripts, which
//     dpkg would have run before it unpacked;
//   - configure: dpkg --configure for the core's packages;
//   - install: dpkg for the extra packages, in as few runs as their
//     Pre-Depends allow;
//   - clean: take away what was made for the steps, logs, caches and whatever
//     differs between two runs.
func (t *Tree) Steps() []base.Step {
	if !t.plan.Scripts() {
		return nil
	}
	steps := []base.Step{
		t.step("prepare packages", t.prepareScript()),
		t.step("configure packages", configureScript),
	}
	if len(t.plan.extra) > 0 {
		steps = append(steps, t.step("install packages", t.installScript()))
	}
	return append(steps, t.step("clean", cleanScript))
}

func (t *Tree) step(name, script string) base.Step {
	return base.Step{
		Name: name,
		Args: []string{"/bin/sh", "-ec", "umask 022\n" + script},
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root",
			"LC_ALL=C.UTF-8",
			"TZ=UTC",
			"DEBIAN_FRONTEND=noninteractive",
			"DEBCONF_NONINTERACTIVE_SEEN=true",
			fmt.Sprintf("SOURCE_DATE_EPOCH=%d", t.Epoch.Unix()),
		},
	}
}

// prepareScript has the preinst scripts in the order of the packages.
func (t *Tree) prepareScript() string {
	var s strings.Builder
	s.WriteString(`ldconfig
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
mv /usr/sbin/start-stop-daemon /usr/sbin/start-stop-daemon.REAL
printf '#!/bin/sh\necho "start-stop-daemon does nothing here"\n' > /usr/sbin/start-stop-daemon
chmod 755 /usr/sbin/start-stop-daemon
preinst() {
	export DPKG_MAINTSCRIPT_PACKAGE="$1" DPKG_MAINTSCRIPT_ARCH="$2" DPKG_MAINTSCRIPT_NAME=preinst
	export DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT=
	"/var/lib/dpkg/info/$3.preinst" install
}
`)
	for _, u := range t.core {
		if u.control.InfoData("preinst") != nil {
			fmt.Fprintf(&s, "preinst %s %s %s\n", u.pkg.Name, u.pkg.Architecture, infoBase(u))
		}
	}
	return s.String()
}

// configureScript begins with the packages that others use without saying so.
const configureScript = `dpkg --force-depends --force-unsafe-io --configure base-passwd
dpkg --force-depends --force-unsafe-io --configure base-files
dpkg --force-unsafe-io --configure --pending
`

// installScript unpacks the extra packages, and configures them before the
// first that has one of them as its Pre-Depends.
func (t *Tree) installScript() string {
	var s strings.Builder
	var batch []string
	waiting := map[*index.Package]bool{}
	flush := func() {
		if len(batch) > 0 {
			fmt.Fprintf(&s, "dpkg --force-unsafe-io --unpack %s\n", strings.Join(batch, " "))
			s.WriteString("dpkg --force-unsafe-io --configure --pending\n")
		}
		batch = nil
		clear(waiting)
	}
	for _, q := range t.plan.extra {
		for _, pre := range t.plan.set.PreDepends(q) {
			if waiting[pre] {
				flush()
			}
		}
		batch = append(batch, "/"+debDir+debName(q))
		waiting[q] = true
	}
	flush()
	return s.String()
}

// cleanScript removes what a run leaves behind that is of no use in an image or
// differs from that of another run. The times of password changes are those of
// the day of the run, unless the programs know SOURCE_DATE_EPOCH.
const cleanScript = `mv /usr/sbin/start-stop-daemon.REAL /usr/sbin/start-stop-daemon
rm -rf /var/cache/camada /usr/sbin/policy-rc.d
if [ -e /etc/shadow ]; then
	day=$((SOURCE_DATE_EPOCH / 86400))
	sed -i "s/^\([^:]*:[^:]*\):[0-9][0-9]*:/\1:$day:/" /etc/shadow
fi
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock
rm -f /etc/hostname /etc/resolv.conf /etc/ssh/ssh_host_*_key* /var/lib/dbus/machine-id
: > /etc/machine-id
rm -f /var/lib/dpkg/*-old /var/lib/dpkg/lock /var/lib/dpkg/lock-frontend /var/lib/dpkg/triggers/Lock
rm -f /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/systemd/catalog/database
rm -f /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log
rm -f /var/log/apt/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/*_*
rm -rf /var/cache/man/* /var/cache/fontconfig/* /tmp/* /var/tmp/* /root/.rnd /run/*.pid
find / -xdev -name __pycache__ -type d -prune -exec rm -rf {} +
`
