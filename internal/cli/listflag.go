package cli

import (
	"strings"

	"github.com/spf13/pflag"
)

// listFlag registers a flag that may be given several times: each adds its value, as it is, to the list.
//
// It is pflag's StringArrayVarP without a writer of CSV, which that makes for each flag when it is registered, used or not: 150 KB for run.
func listFlag(f *pflag.FlagSet, to *[]string, name, short, usage string) {
	f.VarP((*listValue)(to), name, short, usage)
}

// listValue implements pflag.Value and pflag.SliceValue.
type listValue []string

func (l *listValue) Set(v string) error {
	*l = append(*l, v)
	return nil
}

// Type is what the flags of this kind are called in pflag.
func (*listValue) Type() string { return "stringArray" }

func (l *listValue) String() string {
	if len(*l) == 0 {
		return ""
	}
	return "[" + strings.Join(*l, ",") + "]"
}

// Append implements pflag.SliceValue.
func (l *listValue) Append(v string) error { return l.Set(v) }

// Replace implements pflag.SliceValue.
func (l *listValue) Replace(all []string) error {
	*l = all
	return nil
}

// GetSlice implements pflag.SliceValue.
func (l *listValue) GetSlice() []string { return *l }

// oneChanged is the name of a flag of a set that was given; "" when none was.
func oneChanged(set *pflag.FlagSet) string {
	name := ""
	set.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			name = f.Name
		}
	})
	return name
}
