package cli

import (
	"strings"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
)

// verb is one of the command line: its name, and what makes it with its flags.
type verb struct {
	name string
	make func() *cobra.Command
}

// verbs are all, by group, in the order in which help lists them. Those in no group are for the program itself.
func (a *app) verbs() []struct {
	id, title string
	verbs     []verb
} {
	return []struct {
		id, title string
		verbs     []verb
	}{
		{"build", "Build", []verb{
			{"build", a.buildCommand}, {"bake", a.bakeCommand}, {"builds", a.buildsCommand}, {"explain", a.explainCommand}, {"advise", a.adviseCommand}, {"lint", a.lintCommand}, {"base", a.baseCommand},
		}},
		{"run", "Run", []verb{
			{"run", a.runCommand}, {"create", a.createCommand}, {"start", a.startCommand}, {"restart", a.restartCommand}, {"attach", a.attachCommand}, {"exec", a.execCommand},
			{"ps", a.psCommand}, {"logs", a.logsCommand}, {"events", a.eventsCommand}, {"stop", a.stopCommand}, {"kill", a.killCommand}, {"wait", a.waitCommand}, {"rm", a.rmCommand},
			{"pause", a.pauseCommand}, {"unpause", a.unpauseCommand}, {"top", a.topCommand}, {"stats", a.statsCommand}, {"port", a.portCommand}, {"rename", a.renameCommand},
			{"update", a.updateCommand}, {"cp", a.cpCommand}, {"commit", a.commitCommand}, {"generate", a.generateCommand}, {"container", a.containerGroup}, {"volume", a.volumeGroup},
		}},
		{"registry", "Registries", []verb{{"serve", a.serveCommand}}},
		{"images", "Images", []verb{
			{"images", a.imagesCommand}, {"image", a.imageGroup}, {"inspect", a.inspectCommand}, {"history", a.historyCommand}, {"rmi", a.rmiCommand}, {"pull", a.pullCommand},
			{"push", a.pushCommand}, {"save", a.saveCommand}, {"load", a.loadCommand}, {"import", a.importCommand}, {"export", a.exportCommand},
		}},
		{"registries", "Registries", []verb{
			{"copy", a.copyCommand}, {"sync", a.syncCommand}, {"login", a.loginCommand}, {"logout", a.logoutCommand},
			{"search", a.searchCommand}, {"tags", a.remoteTagsCommand}, {"manifest", a.manifestCommand}, {"artifact", a.artifactCommand},
		}},
		{"network", "Networks", []verb{{"network", a.networkCommand}}},
		{"inside", "What is in an image", []verb{
			{"why", a.whyCommand}, {"diff", a.diffCommand}, {"layers", a.layersCommand}, {"doc", a.docCommand}, {"sbom", a.sbomCommand}, {"provenance", a.provenanceCommand}, {"referrers", a.referrersCommand},
		}},
		{"guard", "What is wrong with an image, and what may be used", []verb{
			{"scan", a.scanCommand}, {"secrets", a.secretsCommand}, {"policy", a.policyGroup}, {"slim", a.slimCommand}, {"db", a.dbCommand},
		}},
		{"sign", "Who made an image", []verb{{"sign", a.signCommand}, {"verify", a.verifyCommand}, {"attest", a.attestCommand}, {"key", a.keyCommand}}},
		{"tags", "Tags and their history", []verb{{"tag", a.tagCommand}, {"untag", a.untagCommand}, {"log", a.logCommand}, {"rollback", a.rollbackCommand}}},
		{"store", "The store", []verb{
			{"gc", a.gcCommand}, {"fsck", a.fsckCommand}, {"df", a.dfCommand}, {"info", a.infoCommand}, {"system", a.systemCommand}, {"version", a.versionCommand},
		}},
		{"below", "Below", []verb{{"runtime", a.runtimeCommand}}},
		{"", "", []verb{{engine.MonitorVerb, a.monitorCommand}, {engine.ExecMonitorVerb, a.execMonitorCommand}}},
	}
}

// addVerbs adds the verb of that name alone, and all of them when none has it. To make all takes a third of the time of a short verb.
func (a *app) addVerbs(root *cobra.Command, name string) {
	groups := a.verbs()
	add := func(only string) {
		for _, g := range groups {
			for _, v := range g.verbs {
				if only == "" || v.name == only {
					cmd := v.make()
					cmd.GroupID = g.id
					root.AddCommand(cmd)
				}
			}
		}
	}
	for _, g := range groups {
		if g.id != "" {
			root.AddGroup(&cobra.Group{ID: g.id, Title: g.title + ":"})
		}
	}
	if name != "" {
		add(name)
	}
	root.CompletionOptions.DisableDefaultCmd = root.HasSubCommands()
	if !root.HasSubCommands() {
		add("")
	}
}

// verbOf is the first word of the arguments that is no flag of the program, nor a value of one. It is empty when that cannot be told.
func verbOf(root *cobra.Command, args []string) string {
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			if strings.HasPrefix(args[i], "-") {
				return ""
			}
			return args[i]
		}
		if strings.Contains(name, "=") {
			continue
		}
		f := root.PersistentFlags().Lookup(name)
		if f == nil {
			return ""
		}
		if f.NoOptDefVal == "" {
			i++
		}
	}
	return ""
}
