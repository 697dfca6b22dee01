package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// admissionAddr is where a Kubernetes is answered when nothing else is said.
const admissionAddr = "0.0.0.0:8443"

func (a *app) policyServeCommand() *cobra.Command {
	var o engine.AdmissionOptions
	cmd := &cobra.Command{
		Use: "serve --tls-certificate FILE --tls-key FILE [OPTIONS]", Short: "Answer a Kubernetes whether pods may be admitted",
		Long: `Answer the AdmissionReviews of a Kubernetes, as a validating webhook at /validate, until SIGTERM or SIGINT: the images of pods, and of what makes pods, are looked up in their
registries and judged by the policies for the action deploy. What cannot be found out is refused.

With --mutate there is a mutating webhook at /mutate too, which writes the digest of each image beside its tag: then what was judged is what runs.

The policy is read again when its file changes. deploy/admission.yaml has what a Kubernetes needs. "camada serve --admission" is the same.`,
		Example: `  camada policy serve --policy policy.yaml --tls-certificate tls.crt --tls-key tls.key
  camada policy serve --policy policy.yaml --tls-certificate tls.crt --tls-key tls.key --mutate --exempt-namespace kube-system`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serveAdmission(cmd, o) },
	}
	cmd.Flags().StringVar(&o.Addr, "addr", admissionAddr, "`HOST:PORT` to listen at")
	cmd.Flags().AddFlagSet(admissionFlags(&o))
	return cmd
}

// admissionFlags are those of a webhook, but for its address.
func admissionFlags(o *engine.AdmissionOptions) *pflag.FlagSet {
	f := pflag.NewFlagSet("admission", pflag.ContinueOnError)
	f.StringVar(&o.Cert, "tls-certificate", "", "`file` with the certificate in PEM; read again when it changes")
	f.StringVar(&o.Key, "tls-key", "", "`file` with its key in PEM")
	f.BoolVar(&o.Mutate, "mutate", false, "write digests beside tags, at /mutate")
	listFlag(f, &o.Exempt, "exempt-namespace", "", "`pattern` of namespaces that no rule counts for; may be given again")
	f.DurationVar(&o.Timeout, "timeout", 8*time.Second, "how long a judgement may take; a Kubernetes waits 10s unless it is told otherwise")
	return f
}

func (a *app) serveAdmission(cmd *cobra.Command, o engine.AdmissionOptions) error {
	if o.Cert == "" || o.Key == "" {
		return usage(cmd, "--tls-certificate and --tls-key are missing: a Kubernetes speaks TLS only")
	}
	var mu sync.Mutex
	o.Fault = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.stderr, "camada: %s\n", safe(err.Error()))
	}
	o.Ready = func(url string) { fmt.Fprintf(a.stdout, "answering at %s\n", url) }
	return engine.ServeAdmission(cmd.Context(), a.config(), o)
}

// orAdmission gives the verb that serves a registry --admission, with which it is "policy serve" instead.
func (a *app) orAdmission(cmd *cobra.Command, addr *string) {
	var o engine.AdmissionOptions
	var on bool
	own := admissionFlags(&o)
	own.VisitAll(func(f *pflag.Flag) { f.Usage = "with --admission: " + f.Usage })
	cmd.Flags().BoolVar(&on, "admission", false, "answer a Kubernetes instead, as \"camada policy serve\" does (--addr is \""+admissionAddr+"\" then)")
	cmd.Flags().AddFlagSet(own)
	for _, other := range []string{"data", "config", "check-config", "stdio"} {
		cmd.MarkFlagsMutuallyExclusive("admission", other)
	}
	serve := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if on {
			o.Addr = orElse(*addr, admissionAddr)
			return a.serveAdmission(cmd, o)
		}
		if alone := oneChanged(own); alone != "" {
			return usage(cmd, "--%s belongs to --admission; the configuration has what a registry needs", alone)
		}
		return serve(cmd, args)
	}
}
