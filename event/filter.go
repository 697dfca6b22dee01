package event

import (
	"strings"

	"github.com/camada/camada/errdefs"
)

// Matcher makes a test of filters NAME=VALUE, those of docker events: those of one name are alternatives.
func Matcher(filters []string) (func(Event) bool, error) {
	byName := map[string][]string{}
	for _, f := range filters {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			return nil, errdefs.Invalid("--filter %q: want NAME=VALUE", f)
		}
		switch name {
		case "container", "event", "image", "label", "network", "type", "volume", "daemon", "plugin", "scope":
		default:
			return nil, errdefs.Invalid("--filter %q: want container, event, image, label, network, type, volume or scope", f)
		}
		byName[name] = append(byName[name], value)
	}
	return func(e Event) bool {
		for name, values := range byName {
			if !anyOf(e, name, values) {
				return false
			}
		}
		return true
	}, nil
}

func anyOf(e Event, name string, values []string) bool {
	for _, v := range values {
		if e.is(name, v) {
			return true
		}
	}
	return false
}

// is reports whether one filter fits.
func (e Event) is(name, value string) bool {
	switch name {
	case "type":
		return e.Type == value
	case "scope":
		return value == "local"
	case "event":
		before, _, more := strings.Cut(e.Action, ":") // health_status: healthy
		return e.Action == value || more && before == value
	case "label":
		k, v, given := strings.Cut(value, "=")
		got, ok := e.Attributes[k]
		return ok && (!given || got == v)
	case Image:
		ref := e.Attributes["image"]
		if e.Type == Image {
			ref = e.Attributes["name"]
		}
		return e.Type == Image && e.ID == value || ref == value || ref == value+":latest" || untagged(ref) == value
	case Container:
		id := e.ID
		if e.Type != Container {
			id = e.Attributes["container"]
		}
		return id == value || e.Type == Container && (e.Attributes["name"] == value || len(value) >= 12 && strings.HasPrefix(id, value))
	}
	return e.Type == name && (e.ID == value || e.Attributes["name"] == value)
}

// untagged is a name without its tag.
func untagged(ref string) string {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i]
	}
	return ref
}
