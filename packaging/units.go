// Package packaging holds what the packages put on a host besides programs, so
// that `ginnel service install` puts the same there.
package packaging

import (
	"embed"
	"strings"
)

//go:embed systemd
var files embed.FS

// Where the packages put the programs.
const (
	Agent     = "/usr/bin/ginnel"
	Dataplane = "/usr/lib/ginnel/ginnel-dataplane"
)

// Unit gives a unit of systemd, such as "ginnel.service", or the other settings
// "ginnel.sysusers", "ginnel.tmpfiles" and "ginnel.networkd", with the programs at these paths in
// place of those of the packages. It panics for a name that is not there.
func Unit(name, agent, dataplane string) string {
	text, err := files.ReadFile("systemd/" + name)
	if err != nil {
		panic("packaging: " + err.Error())
	}
	return strings.NewReplacer("="+Agent+" ", "="+agent+" ", "="+Dataplane+"\n", "="+dataplane+"\n").Replace(string(text))
}
