package main

import (
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/agent/block"
)

// config tells which config runs, whether that is the one that the centre wants,
// and if not, why.
func (f statusText) config(c block.ConfigSnapshot, enrolled bool) {
	fmt.Fprintf(f.w, "%-11s", "config")
	f.rest(f.runs(c, enrolled) + f.fares(c))
	if c.Ignored != "" {
		f.below(c.Ignored)
	}
	if c.Trial == nil {
		return
	}
	code := ""
	if c.Error == "" { // else it is that one's, and stands at the head
		code = c.Code
	}
	if text := strings.TrimSpace(code + " " + c.Trial.Reason); text != "" {
		f.below(text)
	}
	for _, line := range c.Trial.Evidence {
		f.below("- " + line)
	}
}

// runs is the config that runs.
func (f statusText) runs(c block.ConfigSnapshot, enrolled bool) string {
	switch {
	case c.Hash == "" && enrolled:
		return "none: ready, and idle until the centre sends one"
	case c.Hash == "":
		return "none: write /etc/ginnel/desired.toml"
	case c.Generation == 0 && enrolled && c.State == "":
		return "by hand, applied " + f.since(c.Applied) + ", until the centre sends one"
	case c.Generation == 0:
		return "by hand, applied " + f.since(c.Applied)
	}
	return fmt.Sprintf("generation %d, applied %s", c.Generation, f.since(c.Applied))
}

// fares is what became of the newest one; it goes on with the line.
func (f statusText) fares(c block.ConfigSnapshot) string {
	newest := "the newest one"
	if c.Trial != nil && c.Trial.Generation > 0 {
		newest = fmt.Sprintf("generation %d", c.Trial.Generation)
	}
	switch {
	case c.State == block.ConfigApplied && c.Stick:
		return ", from a signed file (ginnel apply)"
	case c.State == block.ConfigApplied:
		return ", as the centre wants it"
	case c.State == block.ConfigApplying && c.Trial != nil && !c.Trial.Until.IsZero():
		return ", on trial until " + c.Trial.Until.In(f.loc).Format("15:04:05")
	case c.State == block.ConfigApplying:
		return ", " + newest + " is being gone back from"
	case c.State == block.ConfigUnconfirmed:
		return ", unconfirmed"
	case c.State == block.ConfigFailed:
		return "; " + newest + " failed"
	case c.State == block.ConfigOverridden:
		return "; " + newest + " is overridden by hand"
	}
	return ""
}
