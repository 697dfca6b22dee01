package access

import (
	"strings"

	"github.com/camada/camada/reference"
)

// grant is what a token allows in one place (Docker's token specification, "access").
type grant struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

const (
	// maxScopes and maxScope bound what is asked for in one token.
	maxScopes = 64
	maxScope  = 1024
)

// parseScope reads what a client asks for: a list of TYPE:NAME:ACTION[,ACTION…] with spaces between. What is none of it is left out, as
// the specification has it: the token then allows nothing there.
func parseScope(texts []string) []grant {
	var list []grant
	for _, text := range texts {
		for item := range strings.FieldsSeq(text) {
			if len(list) == maxScopes || len(item) > maxScope {
				return list
			}
			first, last := strings.IndexByte(item, ':'), strings.LastIndexByte(item, ':')
			if first < 0 || first == last {
				continue
			}
			g := grant{Type: item[:first], Name: item[first+1 : last], Actions: strings.Split(item[last+1:], ",")}
			// "repository(plugin)" is a class of repositories.
			g.Type, _, _ = strings.Cut(g.Type, "(")
			if g.Type == "repository" && reference.ValidRepository(g.Name) || g.Type == "registry" && g.Name == "catalog" {
				list = append(list, g)
			}
		}
	}
	return list
}

// narrow keeps of what was asked for what the rules allow.
func narrow(asked []grant, rules Rules, user string) []grant {
	granted := []grant{}
	for _, g := range asked {
		if g.Type == "registry" {
			// What the catalog shows is asked of the rules, name by name.
			granted = append(granted, grant{"registry", "catalog", []string{"*"}})
			continue
		}
		var may Action
		for _, name := range g.Actions {
			a, err := ParseActions([]string{name})
			if err != nil {
				continue
			}
			for bit := Pull; bit <= Admin; bit <<= 1 {
				if a&bit != 0 && rules.Allow(user, g.Name, bit) {
					may |= bit
				}
			}
		}
		if may != 0 {
			granted = append(granted, grant{"repository", g.Name, may.names()})
		}
	}
	return granted
}

// covers reports whether grants have all that what says.
func covers(list []grant, repository string, what Action) bool {
	for _, g := range list {
		switch {
		case g.Type == "registry" && g.Name == "catalog":
			what &^= List
		case g.Type == "repository" && g.Name == repository:
			a, err := ParseActions(g.Actions)
			if err != nil {
				continue
			}
			if what &^= a; a&Pull != 0 {
				what &^= List
			}
		}
		if what == 0 {
			return true
		}
	}
	return what == 0
}

// scopeText is what a client has to ask for to do something.
func scopeText(repository string, what Action) string {
	switch {
	case what&List != 0:
		return "registry:catalog:*"
	case repository == "":
		return ""
	}
	if what&Push != 0 {
		what |= Pull // a push looks at what is there; docker asks for both as well
	}
	names := what.names()
	if len(names) == 0 {
		return ""
	}
	return "repository:" + repository + ":" + strings.Join(names, ",")
}
