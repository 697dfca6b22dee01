package access

import (
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
)

// Names that stand for users in rules.
const (
	// Everybody is everyone, known or not.
	Everybody = "anonymous"
	// Known is everyone who proved who he is.
	Known = "*"
)

// Rule allows some users to do something in some repositories.
type Rule struct {
	// Repositories are patterns, as Match has them; "{user}" in one is the name of who asks.
	Repositories []string
	// Users are patterns of names, or Everybody. Known is the pattern of all.
	Users []string
	// Actions that are allowed.
	Actions Action
}

// Rules are what is allowed: what one of them allows. What none allows is forbidden.
type Rules []Rule

// Allow reports whether a user, "" for somebody unknown, may do all that what says. Whoever may do something in a repository may see that it is there.
func (rules Rules) Allow(user, repository string, what Action) bool {
	if what&List != 0 {
		what = what&^List | Pull
	}
	for _, r := range rules {
		if r.Actions&what != 0 && r.names(user) && r.covers(user, repository) {
			if what &^= r.Actions; what == 0 {
				return true
			}
		}
	}
	return what == 0
}

func (r *Rule) names(user string) bool {
	for _, u := range r.Users {
		if u == Everybody || user != "" && (u == Known || pattern.Match(u, user)) {
			return true
		}
	}
	return false
}

// covers reports whether the rule is about a repository; "" is the registry itself, which rules for all repositories are about.
func (r *Rule) covers(user, repository string) bool {
	if repository == "" {
		return slices.Contains(r.Repositories, "**")
	}
	for _, p := range r.Repositories {
		if strings.Contains(p, "{user}") {
			// A name that has stars or slashes in it must not widen the pattern.
			if user == "" || strings.ContainsAny(user, "*?[]/{}") {
				continue
			}
			p = strings.ReplaceAll(p, "{user}", user)
		}
		if pattern.Match(p, repository) {
			return true
		}
	}
	return false
}

// ParseActions reads names of actions.
func ParseActions(names []string) (Action, error) {
	var all Action
	for _, name := range names {
		switch name {
		case "pull":
			all |= Pull
		case "push":
			all |= Push
		case "delete":
			all |= Delete
		case "admin":
			all |= Admin
		case "*":
			all |= Pull | Push | Delete | Admin
		default:
			return 0, errdefs.Invalid("action %q: want pull, push, delete or admin", name)
		}
	}
	return all, nil
}

// names of the actions, as tokens have them.
func (a Action) names() []string {
	var list []string
	for _, n := range []struct {
		bit  Action
		name string
	}{{Pull, "pull"}, {Push, "push"}, {Delete, "delete"}, {Admin, "admin"}} {
		if a&n.bit != 0 {
			list = append(list, n.name)
		}
	}
	return list
}
