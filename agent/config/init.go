package config

import (
	_ "embed"
	"strings"

	"github.com/ginnel/ginnel/tunnels"
)

// Reference is a desired config with every key that there is, explained.
//
//go:embed reference.toml
var Reference string

// HostReference is the same of ginnel.toml.
//
//go:embed reference-host.toml
var HostReference string

// Minimal is a desired config to start from. What only the other end knows, its
// public key, is left empty, and Parse says what goes there.
func Minimal(role tunnels.Role, gateway, network string) string {
	text := minimalSite
	if role == tunnels.Hub {
		text = minimalHub
	}
	return strings.NewReplacer("GATEWAY", gateway, "NETWORK", network).Replace(text)
}

const minimalSite = `gateway = "GATEWAY"

[[network]]
name    = "NETWORK"
address = ["100.64.0.7/32"]            # ours, inside the tunnel
lan     = ["192.168.10.0/24"]          # what we bring to the network

[[network.hub]]
name        = "hub-north"
public_key  = ""                       # what ` + "`ginnel key NETWORK`" + ` prints there
endpoints   = ["hub-north.example.net:51820"]
allowed_ips = ["100.64.0.1/32", "198.51.100.0/24"]

[[check]]
name    = "records"
kind    = "tcp"
network = "NETWORK"                    # leave out: beside the tunnels
target  = "198.51.100.20:443"
`

const minimalHub = `gateway = "GATEWAY"

[[network]]
name        = "NETWORK"
role        = "hub"
address     = ["100.64.0.1/32"]        # ours, inside the tunnel
lan         = ["198.51.100.0/24"]      # what we bring to the network
listen_port = 51820

[[network.site]]
name        = "avocet-1"
public_key  = ""                       # what ` + "`ginnel key NETWORK`" + ` prints there
allowed_ips = ["100.64.0.7/32", "192.168.10.0/24"]
`
