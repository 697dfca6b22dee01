// Package house holds the plan of the house: which floor each package stands on and
// which walls stand between packages. Its test checks the plan against the real imports:
//
//	go test ./internal/house
//
// docs/design.md explains the plan to people; this is the part that cannot go stale.
package house

import "strings"

// module is the module's path.
const module = "github.com/camada/camada"

// floors lists the packages by floor, the lowest first. A package may import packages of lower
// floors, and its own parents on its own floor. A folder stands for the packages below it
// unless they are listed themselves.
var floors = [][]string{
	1: {"errdefs", "progress", "reference", "platform", "internal/flock", "internal/httptry", "internal/sshagent", "internal/yamltree", "internal/xmltree", "internal/jsonwalk", "internal/rotated", "internal/hostile", "internal/tasks", "internal/fsid", "internal/semver", "internal/tracing", "internal/pattern", "internal/harmless"},
	2: {"content", "lease", "archive", "mount", "network", "dockerfile", "userns", "inventory", "bake", "event", "secret", "internal/citag"},
	3: {"layer", "snapshot", "image", "container", "volume", "remote", "attest", "vuln", "policy"},
	4: {"transfer", "unpack", "registry", "base", "gc", "fetch", "anatomy", "delta", "sign", "admission"},
	5: {"build"},
	6: {"engine"},
	7: {"internal/cli"},
	8: {"cmd/camada"},
	// Programs and tests beside the house; only tests import them.
	9: {"bench", "internal/house", "internal/peers", "test"},
}

// sameFloor are imports between folders of one floor that are meant, each with its reason.
var sameFloor = map[string]string{
	"internal/httptry -> errdefs":        "trying again cannot help with some classes of errors",
	"internal/sshagent -> errdefs":       "a key that cannot be read is an error with a class",
	"internal/yamltree -> errdefs":       "a text that cannot be read is an error with a class",
	"internal/xmltree -> errdefs":        "a text that cannot be read is an error with a class",
	"internal/jsonwalk -> errdefs":       "a text that cannot be read is an error with a class",
	"internal/rotated -> internal/flock": "many processes append to one file",
	"internal/semver -> errdefs":         "a range that is none is an error with a class",
	"internal/tracing -> errdefs":        "a variable that cannot be read is an error with a class",
	"internal/pattern -> errdefs":        "a pattern that is none is an error with a class",
	"internal/hostile -> errdefs":        "what is no regular file is an error with a class",
	"internal/tasks -> errdefs":          "a limit that is reached is an error with a class",
	"secret -> archive":                  "what is packed in a file is unpacked within the limits of all archives",
	"platform -> errdefs":                "a name that cannot be parsed is an error with a class",
	"reference -> errdefs":               "a name that cannot be parsed is an error with a class",
	"policy -> vuln":                     "severities have names and an order",
	"content -> lease":                   "a store pins a blob before it looks whether it is there",
	"remote -> image":                    "a registry keeps what is a manifest apart from what is a blob",
}

// parts are children that their parent imports, each with its reason: they
// implement no interface of the parent's, and could stand beside it as well.
var parts = map[string]string{
	"container -> container/cgroup":         "Start makes the groups that its spec asks for",
	"container -> container/cgroup/systemd": "the other way to come by a group",
	"container -> container/namespace":      "names of namespaces; knows nothing of containers",
	"container -> container/seccomp":        "a pure function from a profile to a filter",
	"policy -> policy/cel":                  "a pure function from a text and values to a value",
	"vuln -> vuln/version":                  "pure functions that compare two texts",
}

// wall says that the packages below From must not reach To, however indirectly.
type wall struct {
	from   string
	to     []string
	reason string
}

var walls = []wall{
	{"container", []string{module + "/content", module + "/image", module + "/snapshot", "net/http"},
		"the runtime knows no images, only a root directory and a spec"},
	{"archive", []string{module + "/content", module + "/image", module + "/snapshot", "net/http"},
		"archives are bytes and file systems; where the bytes come from is the caller's matter"},
	{"dockerfile", []string{module + "/content", module + "/image", module + "/snapshot", "net/http"},
		"the language is parsed without a store, so that lint and editors can use it"},
	{"inventory", []string{module + "/content", module + "/image", module + "/snapshot", "net/http"},
		"packages are found in a file system; where it comes from is the caller's matter"},
	{"secret", []string{module + "/content", module + "/image", module + "/snapshot", "net/http"},
		"secrets are found in streams and file systems; where they come from is the caller's matter"},
	{"policy", []string{module + "/content", module + "/image", module + "/snapshot", "net/http"},
		"rules are judged by facts that are given; who finds them out, and where, is the caller's matter"},
	{"admission", []string{module + "/content", module + "/image", module + "/remote"},
		"requests are read and answered; who judges the images is the caller's matter"},
	{"vuln", []string{module + "/content", module + "/image", module + "/snapshot", "net/http"},
		"advisories and packages are given; who has them and where they come from is the caller's matter"},
	{"content", []string{"net/http"}, "the store knows no registries"},
	{"transfer", []string{module + "/image/layout", module + "/image/tarball", "net/http"},
		"a transfer is a graph copy over small interfaces that stores, archives and registries satisfy"},
	{"registry", []string{module + "/container", module + "/snapshot", module + "/remote", "github.com/spf13/cobra"},
		"a registry keeps bytes and tags; it runs nothing, unpacks nothing and asks no other registry by itself"},
	{"build", []string{module + "/container", "net/http"},
		"build declares the Executor that it needs, so that builds are tested without root"},
}

// floorOf returns the floor of a package path relative to the module, and the folder
// of floors that it belongs to; 0 when it stands nowhere.
func floorOf(pkg string) (floor int, folder string) {
	for i, names := range floors {
		for _, name := range names {
			if (pkg == name || strings.HasPrefix(pkg, name+"/")) && len(name) > len(folder) {
				floor, folder = i, name
			}
		}
	}
	return floor, folder
}
