package county

import (
	"fmt"
	"strings"
	"text/template"
)

// interval is how often the lab's checks run and tunnels are probed: a demo
// cannot wait for the defaults of 30 and 10 s.
const interval, timeout = "1s", "900ms"

// siteConfig is a gateway's desired.toml, as someone would write it by hand.
var siteConfig = template.Must(template.New("site").Parse(`gateway = "{{.Site.Gateway}}"
{{range .Networks}}
[[network]]
name    = "{{.Name}}"
address = ["{{.Overlay}}/32"]
lan     = ["{{$.Site.LAN}}"]
probe_interval = "{{$.Interval}}"

[[network.hub]]
name        = "{{.Hub.Name}}"
public_key  = "{{.Key}}"
endpoints   = ["{{.Hub.Name}}.example.net:{{.Port}}"]
allowed_ips = ["{{.HubOverlay}}/32", "{{.Services}}"]
{{end}}{{range .Checks}}
[[check]]
name       = "{{.Name}}"
kind       = "{{.Kind}}"
{{if .Network}}network    = "{{.Network}}"
{{end}}target     = "{{.Target}}"
interval   = "{{$.Interval}}"
timeout    = "{{$.Timeout}}"
stands_for = "{{.StandsFor}}"
{{if .Options}}[check.options]
{{range $k, $v := .Options}}{{$k}} = "{{$v}}"
{{end}}{{end}}{{end}}`))

// hubConfig is a hub's.
var hubConfig = template.Must(template.New("hub").Parse(`gateway = "{{.Hub.Name}}"
{{range .Networks}}
[[network]]
name        = "{{.Name}}"
role        = "hub"
address     = ["{{.Overlay}}/32"]
lan         = ["{{.Services}}"]
listen_port = {{.Port}}
{{range .Sites}}
[[network.site]]
name        = "{{.Gateway}}"
public_key  = "{{.Key}}"
allowed_ips = ["{{.Overlay}}/32", "{{.LAN}}"]
{{end}}{{end}}`))

// keyOf names a gateway's public key in a network: "avocet-1 kestrel".
func keyOf(gateway, network string) string { return gateway + " " + network }

// siteText writes a site's config, with the hubs' public keys.
func (p Plan) siteText(s SitePlan, keys map[string]string) (string, error) {
	type network struct {
		Name, Key, Overlay, HubOverlay, Services string
		Hub                                      HubPlan
		Port                                     int
	}
	var networks []network
	for _, j := range s.Joins {
		h := p.hub(j.Hub)
		networks = append(networks, network{
			Name: j.Network, Key: keys[keyOf(h.Name, j.Network)],
			Overlay: s.Overlay(j.Network).String(), HubOverlay: h.Overlay[j.Network].String(),
			Services: p.network(j.Network).Services.String(), Hub: h, Port: h.Ports[j.Network],
		})
	}
	return fill(siteConfig, map[string]any{
		"Site": s, "Networks": networks, "Checks": p.checksOf(s), "Interval": interval, "Timeout": timeout})
}

// hubText writes a hub's config, with the public keys of its sites.
func (p Plan) hubText(h HubPlan, keys map[string]string) (string, error) {
	type peer struct{ Gateway, Key, Overlay, LAN string }
	type network struct {
		Name, Overlay, Services string
		Port                    int
		Sites                   []peer
	}
	var networks []network
	for _, n := range p.Networks {
		one := network{Name: n.Name, Overlay: h.Overlay[n.Name].String(), Services: n.Services.String(), Port: h.Ports[n.Name]}
		for _, s := range p.Sites {
			for _, j := range s.Joins {
				if j == (Join{Network: n.Name, Hub: h.Name}) {
					one.Sites = append(one.Sites, peer{Gateway: s.Gateway(), Key: keys[keyOf(s.Gateway(), n.Name)],
						Overlay: s.Overlay(n.Name).String(), LAN: s.LAN.String()})
				}
			}
		}
		if len(one.Sites) > 0 {
			networks = append(networks, one)
		}
	}
	return fill(hubConfig, map[string]any{"Hub": h, "Networks": networks})
}

func fill(t *template.Template, data any) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("writing the %s config: %w", t.Name(), err)
	}
	return b.String(), nil
}
