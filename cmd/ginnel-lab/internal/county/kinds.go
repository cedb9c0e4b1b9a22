package county

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// AllKinds is where checks of every kind are.
const AllKinds = "avocet"

// agreed is what the owners of the lab's clinical systems said.
const agreed = "Imaging and records of the lab: it is ours"

// everyKind are checks of every kind that there is, besides those of Whole: at a
// service behind the hub of network kestrel, or of the site itself. What may run
// seldom only is up when it was good once.
func everyKind(n NetworkPlan, h HubPlan) []CheckPlan {
	service, inside := n.Service.String(), h.Overlay[n.Name].String()
	through := func(name, kind, target, stands string, options ...string) CheckPlan {
		c := CheckPlan{Name: name, Kind: kind, Network: n.Name, Target: target, StandsFor: stands, Options: map[string]string{}}
		for i := 0; i < len(options); i += 2 {
			c.Options[options[i]] = options[i+1]
		}
		return c
	}
	seldom := func(c CheckPlan, interval string) CheckPlan {
		c.Interval, c.Up = interval, 1
		return c
	}
	return []CheckPlan{
		through("echo", "icmp", service, "Echo of the records host"),
		through("voice", "udp", inside, "Voice to the hub", "count", "5", "gap", "10ms"),
		through("key", "handshake", h.Name, "Handshake with the hub"),
		seldom(through("size", "mtu", inside, "Path MTU to the hub"), "1m"),
		seldom(through("way", "path", service+":443", "Way to the records host"), "2m"),
		through("secure", "tls", service+":8443", "TLS of the records host", "verify", "false"),
		through("page", "http", "http://"+service+"/", "Page of the records host", "body", "is here"),
		through("clock", "ntp", service, "Time"),
		{Name: "line", Kind: "link", Target: "eth0", StandsFor: "The line's link"},
		through("banner", "banner", service+":25", "Greeting, by a plugin", "expect", "220 "),
		through("disk", "disk", "spare", "Spare disk, by a monitoring plugin"),
		seldom(through("pacs", "dicom", service+":11112", "Imaging, echo", "called", "LAB"), "1m"),
		seldom(through("fhir", "fhir", "http://"+service+"/r4", "Records, FHIR", "version", "4.0"), "15m"),
	}
}

// WithEveryKind is the plan with checks of every kind at the site AllKinds.
func (p Plan) WithEveryKind() Plan {
	p.Sites = slices.Clone(p.Sites)
	for i := range p.Sites {
		if s := &p.Sites[i]; s.Name == AllKinds {
			s.Checks = append(slices.Clone(s.Checks), everyKind(p.network("kestrel"), p.hub("hub-north"))...)
		}
	}
	return p
}

// OfferPrograms has a gateway's owner offer what checks of programs need: our
// plugins, and a monitoring plugin.
func (s *Site) OfferPrograms() error {
	const dir = "/run/lab/checks"
	disk := "#!/bin/sh\necho \"DISK OK - $1 41 % used | used=41%;80;90\"\n"
	errs := []error{s.offer("disk", filepath.Join(dir, "check_disk"), disk, "type = \"exec\"\nargs = [\"{target}\"]\ntargets = [\"spare\"]\n")}
	for _, program := range []struct {
		name, more string
		kinds      []string
	}{
		{"ginnel-check-banner", "", []string{"banner"}},
		{"ginnel-check-clinical", fmt.Sprintf("agreement = %q\n", agreed), []string{"dicom", "fhir"}},
	} {
		text, err := os.ReadFile(filepath.Join(netns.Bin, program.name))
		if err != nil {
			return fmt.Errorf("a plugin is not built, make build does it: %w", err)
		}
		for _, kind := range program.kinds {
			errs = append(errs, s.offer(kind, filepath.Join(dir, program.name), string(text), program.more))
		}
	}
	return errors.Join(errs...)
}

func (s *Site) offer(kind, path, text, more string) error {
	offer := fmt.Sprintf("kind   = %q\npath   = %q\nsha256 = \"%x\"\n%s", kind, path, sha256.Sum256([]byte(text)), more)
	return errors.Join(s.Node.WriteFile(path, text, 0o755), s.Node.WriteFile("/etc/ginnel/checks.d/"+kind+".toml", offer, 0o644))
}
