package graph

import (
	"strings"

	"github.com/camada/camada/fetch"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Text is what an instruction puts into the config or the history of an image. Its variables are expanded, but for those that the shell of a step expands.
type Text struct {
	// Where is env, arg, label, command or author; Name is of which variable or label, or the instruction.
	Where, Name string
	// Text of a variable or a label is NAME=VALUE.
	Text string
	// Location is where it stands; empty for what does not stand in the Dockerfile.
	Location []parser.Range
	// Trigger is that of Vertex.
	Trigger string
}

// texts notes what a command says, which has just been read.
func (st *stage) texts(c instructions.Command) {
	note := func(where, name, text string) {
		st.b.texts = append(st.b.texts, Text{Where: where, Name: name, Text: text, Location: c.Location(), Trigger: st.trigger})
	}
	command := func(words []string) { note("command", strings.ToUpper(c.Name()), strings.Join(words, " ")) }
	switch c := c.(type) {
	case *instructions.EnvCommand:
		for _, e := range c.Env {
			note("env", e.Key, e.Key+"="+e.Value)
		}
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			if v, ok := st.scope.Get(a.Key); ok {
				note("arg", a.Key, a.Key+"="+v)
			}
		}
	case *instructions.LabelCommand:
		for _, l := range c.Labels {
			note("label", l.Key, l.Key+"="+l.Value)
		}
	case *instructions.RunCommand:
		words := c.CmdLine
		for _, f := range c.Files {
			words = append(words[:len(words):len(words)], f.Data)
		}
		command(words)
	case *instructions.CmdCommand:
		command(c.CmdLine)
	case *instructions.EntrypointCommand:
		command(c.CmdLine)
	case *instructions.HealthCheckCommand:
		command(c.Health.Test)
	case *instructions.ShellCommand:
		command(c.Shell)
	case *instructions.OnbuildCommand:
		command([]string{c.Expression})
	case *instructions.MaintainerCommand:
		note("author", "MAINTAINER", c.Maintainer)
	case *instructions.WorkdirCommand:
		command([]string{c.Path})
	case *instructions.UserCommand:
		command([]string{c.User})
	case *instructions.VolumeCommand:
		command(c.Volumes)
	case *instructions.CopyCommand:
		command(paths(&c.SourcesAndDest))
	case *instructions.AddCommand:
		command(paths(&c.SourcesAndDest))
	}
}

// paths are what the history has of a COPY or an ADD.
func paths(sd *instructions.SourcesAndDest) []string {
	var out []string
	for _, s := range sd.SourcePaths {
		out = append(out, fetch.Redact(s))
	}
	return append(out, sd.DestPath)
}
