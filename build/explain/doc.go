// Package explain says why the steps of a build were executed again. It compares what their cache keys were
// made of with what they were made of in earlier builds; nothing is guessed.
//
//	r, err := explain.Build(ctx, b, explain.Parts{Before: h.Before, Files: h.Files})
//	for _, s := range r.Steps { fmt.Println(s.Name, s.Outcome, s.Reasons) }
//
// A step is compared with the same step of the youngest earlier build that had its stage, on the same platform when
// there is one. Steps are paired by aligning the instructions of the two stages, so
// that a line that was put in or taken out does not shift the rest.
package explain
