package county

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// rhythm is how often the lab's checks run and tunnels are probed, and how long
// one may take: a demo cannot wait for the defaults of 30 and 10 s, and a machine
// that is emulated, where the kernel's back end is played, has no time for more.
func (p Plan) rhythm() (interval, timeout string) {
	switch {
	case p.Rhythm != 0:
		return p.Rhythm.String(), "4500ms"
	case Backend == "kernel":
		return "5s", "4500ms"
	}
	return "1s", "900ms"
}

// written puts the value of an option into TOML: what is a number or a boolean is
// no string.
var written = template.FuncMap{"toml": func(v string) string {
	if _, err := strconv.ParseBool(v); err == nil && len(v) > 1 {
		return v
	}
	if _, err := strconv.Atoi(v); err == nil {
		return v
	}
	return strconv.Quote(v)
}}

// siteConfig is a gateway's desired.toml, as someone would write it by hand.
var siteConfig = template.Must(template.New("site").Funcs(written).Parse(`gateway = "{{.Site.Gateway}}"
{{range .Networks}}
[[network]]
name    = "{{.Name}}"
address = [{{.Overlay}}]
lan     = [{{.LAN}}]
{{if .Ingress}}ingress = ["{{.Ingress}}"]
{{end}}probe_interval = "{{$.Interval}}"
{{range .Hubs}}
[[network.hub]]
name        = "{{.Name}}"
public_key  = "{{.Key}}"
endpoints   = ["{{.Endpoint}}"]
allowed_ips = [{{.Accepted}}]
{{end}}{{template "allow" .}}{{end}}{{range .Checks}}
[[check]]
name       = "{{.Name}}"
kind       = "{{.Kind}}"
{{if .Network}}network    = "{{.Network}}"
{{end}}target     = "{{.Target}}"
{{if .Interval}}interval   = "{{.Interval}}"
{{else}}interval   = "{{$.Interval}}"
timeout    = "{{$.Timeout}}"
{{end}}{{if .Up}}up         = {{.Up}}
{{end}}stands_for = "{{.StandsFor}}"
{{if .Options}}[check.options]
{{range $k, $v := .Options}}{{$k}} = {{toml $v}}
{{end}}{{end}}{{end}}` + allows))

// hubConfig is a hub's.
var hubConfig = template.Must(template.New("hub").Parse(`gateway = "{{.Hub.Name}}"
{{range .Networks}}
[[network]]
name        = "{{.Name}}"
role        = "hub"
address     = [{{.Overlay}}]
lan         = [{{.Services}}]
listen_port = {{.Port}}
{{range .Sites}}
[[network.site]]
name        = "{{.Gateway}}"
public_key  = "{{.Key}}"
allowed_ips = [{{.Accepted}}]
{{end}}{{template "allow" .}}{{end}}` + allows))

const allows = `{{define "allow"}}{{range .Allow}}
[[network.allow]]
from  = "{{.From}}"
to    = "{{.To}}"
ports = [{{.Ports}}]
{{end}}{{end}}`

// keyOf names a gateway's public key in a network: "avocet-1 kestrel".
func keyOf(gateway, network string) string { return gateway + " " + network }

// siteText writes a site's config, with the hubs' public keys.
func (p Plan) siteText(s SitePlan, keys map[string]string) (string, error) {
	type peer struct{ Name, Key, Endpoint, Accepted string }
	type network struct {
		Name, Overlay, LAN, Ingress string
		Hubs                        []peer
		Allow                       []allowText
	}
	var networks []network
	for _, j := range s.Joins {
		one := network{Name: j.Network, Overlay: p.list(single(s.Overlay(j.Network))),
			LAN: p.list(s.lanOf(j)), Ingress: j.Ingress}
		if !j.Lax {
			one.Allow = p.allowed(j.Network)
		}
		for _, name := range j.Hubs {
			h := p.hub(name)
			accepted := append([]netip.Prefix{single(h.Overlay[j.Network]), p.network(j.Network).Services}, j.Accepts...)
			one.Hubs = append(one.Hubs, peer{Name: name, Key: keys[keyOf(name, j.Network)],
				Endpoint: h.endpoint(j.Network), Accepted: p.list(accepted...)})
		}
		networks = append(networks, one)
	}
	interval, timeout := p.rhythm()
	return fill(siteConfig, map[string]any{
		"Site": s, "Networks": networks, "Checks": p.checksOf(s), "Interval": interval, "Timeout": timeout})
}

// hubText writes a hub's config, with the public keys of its sites.
func (p Plan) hubText(h HubPlan, keys map[string]string) (string, error) {
	type peer struct{ Gateway, Key, Accepted string }
	type network struct {
		Name, Overlay, Services string
		Port                    int
		Sites                   []peer
		Allow                   []allowText
	}
	var networks []network
	for _, n := range p.NetworksOf(h) {
		one := network{Name: n.Name, Overlay: p.list(single(h.Overlay[n.Name])), Services: p.list(n.Services),
			Port: h.Ports[n.Name], Allow: p.allowed(n.Name)}
		for _, s := range p.Sites {
			for _, j := range s.Joins {
				if j.Network == n.Name && slices.Contains(j.Hubs, h.Name) {
					one.Sites = append(one.Sites, peer{Gateway: s.Gateway(), Key: keys[keyOf(s.Gateway(), n.Name)],
						Accepted: p.list(append([]netip.Prefix{single(s.Overlay(n.Name)), s.lanOf(j)}, h.Also[s.Name]...)...)})
				}
			}
		}
		if len(one.Sites) > 0 {
			networks = append(networks, one)
		}
	}
	return fill(hubConfig, map[string]any{"Hub": h, "Networks": networks})
}

// endpoint is where sites call a hub.
func (h HubPlan) endpoint(network string) string {
	if h.Over6 {
		return netip.AddrPortFrom(Six(h.Address), uint16(h.Ports[network])).String()
	}
	return fmt.Sprintf("%s.example.net:%d", h.Name, h.Ports[network])
}

// list is prefixes as the elements of a TOML list, IPv6 behind IPv4.
func (p Plan) list(prefixes ...netip.Prefix) string {
	var four, six []string
	for _, x := range prefixes {
		four = append(four, fmt.Sprintf("%q", x))
		six = append(six, fmt.Sprintf("%q", SixPrefix(x)))
	}
	if !p.IPv6 {
		six = nil
	}
	return strings.Join(append(four, six...), ", ")
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// allowText is an [[network.allow]] as it is written.
type allowText struct{ From, To, Ports string }

// allowed is what a network allows, for IPv4 and then for IPv6.
func (p Plan) allowed(network string) []allowText {
	var all []allowText
	ends := []func(string) string{func(s string) string { return s }}
	if p.IPv6 {
		ends = append(ends, sixEnd)
	}
	for _, end := range ends {
		for _, a := range p.network(network).Allow {
			one := allowText{end(a.From), end(a.To), `"` + strings.Join(a.Ports, `", "`) + `"`}
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	return all
}

// sixEnd is one end of an AllowPlan in IPv6; a word stays a word.
func sixEnd(s string) string {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return SixPrefix(prefix).String()
	}
	return s
}

func fill(t *template.Template, data any) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("writing the %s config: %w", t.Name(), err)
	}
	return b.String(), nil
}
