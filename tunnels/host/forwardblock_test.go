package host

import (
	"strings"
	"testing"
)

// A drop of somebody else is seen, whoever it is; what lets our traffic pass is
// not taken for one.
func TestForwardBlock(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	look := func() (who, line string, blocked bool) {
		t.Helper()
		who, line, blocked, err := h.ForwardBlock(t.Context())
		must(t, err)
		return who, line, blocked
	}
	const forward = "type filter hook forward priority 0; policy drop;"
	sh(t, "nft 'table ip filter { chain FORWARD { "+forward+" }; }'")
	if who, _, blocked := look(); blocked {
		t.Errorf("%s is accused, and there is nothing to forward", who)
	}
	sh(t, "nft flush ruleset")
	converge(t, h, siteSpec)
	ours := sh(t, "nft list ruleset")

	const established = "ct state established,related accept;"
	for name, c := range map[string]struct{ rules, who, line string }{
		"nothing of others": {"", "", ""},
		"policy drop":       {"table ip filter { chain FORWARD { " + forward + " }; }", "iptables", "iptables -I FORWARD -i gn-+"},
		"for IPv6 only":     {"table ip6 filter { chain FORWARD { " + forward + " }; }", "ip6tables", "ip6tables -I FORWARD"},
		"docker": {`table ip filter {
			chain DOCKER-USER { counter return; };
			chain DOCKER-CT { oifname "docker0" ct state related,established counter accept; };
			chain DOCKER-ISOLATION-STAGE-1 { iifname "docker0" oifname != "docker0" counter drop; };
			chain DOCKER { ip saddr @docker-ext accept; };
			set docker-ext { type ipv4_addr; flags interval; elements = { 172.17.0.0/16 }; };
			chain DOCKER-FORWARD { jump DOCKER-CT; jump DOCKER-ISOLATION-STAGE-1; iifname "docker0" accept; };
			chain FORWARD { ` + forward + ` jump DOCKER-USER; jump DOCKER-FORWARD; }; }`, "docker", "iptables -I DOCKER-USER -i gn-+"},
		"docker, told to let us": {`table ip filter {
			chain DOCKER-USER { iifname "gn-*" accept; oifname "gn-*" accept; return; };
			chain FORWARD { ` + forward + ` jump DOCKER-USER; }; }`, "", ""},
		"a drop of one link": {`table inet x { chain f { type filter hook forward priority 0; oifname "gn-site" drop; }; }`,
			"the nftables chain inet x f", `insert rule inet x f iifname "gn-*" accept`},
		"a drop of other links": {`table inet x { chain f { type filter hook forward priority 0; oifname "eth7" drop; }; }`, "", ""},
		"a LAN that may call":   {`table inet x { chain f { ` + forward + established + ` iifname { "lan", "dmz" } accept; }; }`, "", ""},
		"by a map":              {`table inet x { chain f { ` + forward + ` ct state vmap { established : accept, related : accept, invalid : drop }; iifname lan oifname gn-site accept; }; }`, "", ""},
		"by prefix":             {`table ip x { chain f { ` + forward + established + ` ip saddr 192.168.10.0/24 accept; }; }`, "", ""},
		"by another prefix":     {`table ip x { chain f { ` + forward + established + ` ip saddr 192.168.11.0/24 accept; }; }`, "the nftables chain ip x f", ""},
		"replies are dropped":   {`table inet x { chain f { ` + forward + ` iifname "lan" accept; }; }`, "the nftables chain inet x f", ""},
		"nobody can tell":       {`table inet x { chain f { ` + forward + ` numgen random mod 2 == 0 accept; }; }`, "", ""},
		"ufw":                   {"table ip filter { chain ufw-user-forward { }; chain FORWARD { " + forward + established + " jump ufw-user-forward; }; }", "ufw", "ufw route allow in on lan out on gn-site"},
		"firewalld": {`table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
			` + established + ` reject with icmpx admin-prohibited; }; }`, "firewalld", "firewall-cmd"},
		"a chain that jumps into itself by way of another": {`table inet x { chain a { }; chain f { ` + forward + ` jump a; goto a; }; }`, "the nftables chain inet x f", ""},
	} {
		sh(t, "nft -f - <<'END'\nflush ruleset\n"+ours+"\n"+c.rules+"\nEND")
		who, line, blocked := look()
		if blocked != (c.who != "") || who != c.who || !strings.Contains(line, c.line) {
			t.Errorf("%s: blocked %v by %q: %s", name, blocked, who, line)
		}
	}
}
