package county

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/template"
)

// ByHand is the county with each gateway's desired.toml written on the gateway
// itself, as on one without a collector; else they are pushed from the desk.
func (p Plan) ByHand() Plan {
	p.byHand = true
	return p
}

// Pushed says whether the gateways get their configs by push. A county with
// what no fleet has, such as a link that a site names, is configured by hand.
func (p Plan) Pushed() bool {
	if p.byHand || p.IPv6 || slices.ContainsFunc(p.Hubs, func(h HubPlan) bool { return len(h.Also) > 0 }) {
		return false
	}
	return !slices.ContainsFunc(p.Sites, func(s SitePlan) bool {
		return slices.ContainsFunc(s.Joins, func(j Join) bool { return j.Ingress != "" || len(j.Accepts) > 0 || j.Lax })
	})
}

// fleetText is the county's fleet.toml.
var fleetText = template.Must(template.New("fleet").Funcs(written).Parse(`signers = [{{range .Signers}}
  "{{.}}",{{end}}
]

[rollout]
rings  = ["canary", "rest"]
window = "always"
pause  = { gateways = 1, share = "2%", within = "5s" }

[organisation]
{{range .Networks}}{{.Name}} = "{{.Name}} (invented)"
{{end}}{{range .Networks}}
[network.{{.Name}}]
organisation   = "{{.Name}}"
overlay        = "{{.Overlay}}"
hubs           = [{{.Hubs}}]
probe_interval = "{{$.Interval}}"
{{$n := .Name}}{{range .Allow}}
[[network.{{$n}}.allow]]
from  = "{{.From}}"
to    = "{{.To}}"
ports = [{{.Ports}}]
{{end}}{{end}}{{range .Hubs}}
[hub.{{.Name}}]
{{range .At}}endpoints.{{.Network}} = ["{{.Endpoint}}"]
lan.{{.Network}} = ["{{.LAN}}"]
{{end}}{{end}}{{range .Checks}}
[[check]]
name       = "{{.Name}}"
{{if .Where}}where      = { site = [{{.Where}}] }
{{end}}kind       = "{{.Kind}}"
{{if .Network}}network    = "{{.Network}}"
{{end}}target     = "{{.Target}}"
{{if .Interval}}interval   = "{{.Interval}}"
{{else}}interval   = "{{$.Interval}}"
timeout    = "{{$.Timeout}}"
{{end}}{{if .Up}}up         = {{.Up}}
{{end}}stands_for = "{{.StandsFor}}"
{{if .Options}}[check.options]
{{range $k, $v := .Options}}{{$k}} = {{toml $v}}
{{end}}{{end}}{{end}}`))

// fleetFiles are the fleet of the county as an operator writes it, by name. What
// is given here in addresses.csv are the addresses that the plan has.
func (p Plan) fleetFiles(signers []string) (map[string]string, error) {
	interval, timeout := p.rhythm()
	type network struct {
		Name, Overlay, Hubs string
		Allow               []allowText
	}
	type at struct{ Network, Endpoint, LAN string }
	type hub struct {
		Name string
		At   []at
	}
	var networks []network
	for _, n := range p.Networks {
		if len(p.hubsOf(n.Name)) == 0 {
			continue
		}
		networks = append(networks, network{n.Name, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, overlays[n.Name], 0}), 18).String(),
			`"` + strings.Join(p.hubsOf(n.Name), `", "`) + `"`, p.allowed(n.Name)})
	}
	var hubs []hub
	for _, h := range p.Hubs {
		one := hub{Name: h.Name}
		for _, n := range p.NetworksOf(h) {
			one.At = append(one.At, at{n.Name, h.endpoint(n.Name), n.Services.String()})
		}
		hubs = append(hubs, one)
	}
	text, err := fill(fleetText, map[string]any{"Signers": signers, "Networks": networks, "Hubs": hubs,
		"Checks": p.chosenChecks(), "Interval": interval, "Timeout": timeout})
	if err != nil {
		return nil, err
	}
	return map[string]string{"fleet.toml": text, "sites.csv": p.sitesSheet(), "attachments.csv": p.attachmentsSheet(), "addresses.csv": p.addressesSheet()}, nil
}

// hubsOf are the hubs of a network.
func (p Plan) hubsOf(network string) []string {
	var names []string
	for _, h := range p.Hubs {
		if h.Ports[network] != 0 {
			names = append(names, h.Name)
		}
	}
	return names
}

// chosenCheck is a [[check]] and the sites that it is for.
type chosenCheck struct {
	CheckPlan
	Where string // empty: all sites of its network, or of the fleet
}

// chosenChecks are all checks, each once.
func (p Plan) chosenChecks() []chosenCheck {
	var all []chosenCheck
	for _, n := range p.Networks {
		for _, c := range n.Checks {
			c.Network = n.Name
			all = append(all, chosenCheck{CheckPlan: c})
		}
	}
	own := len(all)
	for _, s := range p.Sites {
		for _, c := range s.Checks {
			name := fmt.Sprintf("%q", s.Name)
			i := slices.IndexFunc(all[own:], func(o chosenCheck) bool { return o.Name == c.Name })
			if i >= 0 {
				all[own+i].Where += ", " + name
				continue
			}
			all = append(all, chosenCheck{CheckPlan: c, Where: name})
		}
	}
	return all
}

func (p Plan) sitesSheet() string {
	var b strings.Builder
	b.WriteString("site,name,kind,postcode,ring\n")
	for _, s := range p.Sites {
		fmt.Fprintf(&b, "%s,%q,gp,%s,\n", s.Name, s.Title, s.Postcode)
	}
	return b.String()
}

func (p Plan) attachmentsSheet() string {
	var b strings.Builder
	b.WriteString("site,network,lan,as,hubs\n")
	for _, s := range p.Sites {
		for _, j := range s.Joins {
			fmt.Fprintf(&b, "%s,%s,%s,,%s\n", s.Name, j.Network, s.lanOf(j), strings.Join(j.Hubs, " "))
		}
	}
	return b.String()
}

func (p Plan) addressesSheet() string {
	var b strings.Builder
	b.WriteString("gateway,network,address\n")
	for _, h := range p.Hubs {
		for _, n := range p.NetworksOf(h) {
			fmt.Fprintf(&b, "%s,%s,%s\n", h.Name, n.Name, h.Overlay[n.Name])
		}
	}
	for _, s := range p.Sites {
		for _, j := range s.Joins {
			fmt.Fprintf(&b, "%s,%s,%s\n", s.Gateway(), j.Network, s.Overlay(j.Network))
		}
	}
	return b.String()
}
