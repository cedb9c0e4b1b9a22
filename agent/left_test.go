package agent

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/tunnels"
)

// A hub that answers from where it was called before says nothing of the endpoint
// that a change gave it.
func TestTunnelThatStayed(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.10:51820")
	names := []tunnels.KnownName{
		{Name: "hub-north.example.net", Addresses: []netip.Addr{at.Addr()}},
		{Name: "elsewhere.example.net", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.66")}},
		{Name: "hub-nroth.example.net", Err: "no such name"},
	}
	for _, c := range []struct {
		endpoints []string
		want      trial.State
	}{
		{[]string{"192.0.2.66:51820"}, trial.Dead},
		{[]string{"192.0.2.10:51821"}, trial.Dead},
		{[]string{"elsewhere.example.net:51820"}, trial.Dead},
		{[]string{"192.0.2.10:51820"}, trial.Good},
		{[]string{"192.0.2.66:51820", "hub-north.example.net:51820"}, trial.Good},
		{[]string{"hub-nroth.example.net:51820"}, trial.Unsure},
		{[]string{"unasked.example.net:51820"}, trial.Unsure},
	} {
		if got, text := stayed(at, c.endpoints, names); got != c.want || text == "" {
			t.Errorf("%v: %v, want %v: %s", c.endpoints, got, c.want, text)
		}
	}
}

func TestOnlyTunnelsWithOtherEndpointsAreLeft(t *testing.T) {
	spec := func(endpoints ...string) tunnels.Spec {
		d := func(hub string, e ...string) tunnels.Tunnel {
			return tunnels.Tunnel{Hub: hub, Peers: []tunnels.PeerSpec{{Name: hub, Endpoints: e}}}
		}
		return tunnels.Spec{Networks: []tunnels.Network{{Name: "kestrel", Devices: []tunnels.Tunnel{d("hub-north", endpoints...), d("hub-south", "192.0.2.20:51820")}}}}
	}
	at := map[string]netip.AddrPort{}
	for name, a := range map[string]string{"kestrel/hub-north": "192.0.2.10:51820", "kestrel/hub-south": "192.0.2.20:51820"} {
		at[name] = netip.MustParseAddrPort(a)
	}
	got := left(spec("192.0.2.10:51820"), spec("192.0.2.66:51820"), at)
	if want := map[string]netip.AddrPort{"kestrel/hub-north": at["kestrel/hub-north"]}; !maps.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if got := left(spec("192.0.2.10:51820"), tunnels.Spec{}, at); len(got) > 0 {
		t.Errorf("of a network that is dropped: %v", got)
	}
}
