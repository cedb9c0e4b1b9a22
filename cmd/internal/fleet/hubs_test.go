package fleet

import (
	"strings"
	"testing"
)

// A site may prefer other hubs than its network: it calls those, in that order,
// and the others do not know it.
func TestSiteHasHubsOfItsOwn(t *testing.T) {
	f := load(t, with(t, map[string]string{"attachments.csv": "site,network,lan,hubs\n" +
		"avocet,heron,192.168.10.0/24,\nbittern,heron,192.168.20.0/24,hub-south\nfulmar,heron,192.168.44.0/24,hub-north hub-south\n"}))
	called := map[string]string{}
	for _, site := range []string{"avocet", "bittern", "fulmar"} {
		i := f.siteAt[site]
		m := f.memberAt[end{site + "-1", "heron"}]
		if m.att != &f.Sites[i].Attachments[0] {
			t.Fatalf("%s: the member is not of its row", site)
		}
		called[site] = strings.Join(m.hubs(f.network("heron")), " ")
	}
	for site, want := range map[string]string{"avocet": "hub-south hub-north", "bittern": "hub-south", "fulmar": "hub-north hub-south"} {
		if called[site] != want {
			t.Errorf("%s calls %q, want %q", site, called[site], want)
		}
	}
	for hub, wants := range map[string]bool{"hub-north": false, "hub-south": true} {
		d, err := f.Compile(hub)
		if err != nil {
			t.Fatal(err)
		}
		knows := strings.Contains(string(d.Text(0)), `name = "bittern-1"`)
		for _, w := range d.Waiting {
			knows = knows || w.Peer == "bittern-1"
		}
		if knows != wants {
			t.Errorf("%s knows bittern-1: %t, want %t", hub, knows, wants)
		}
	}
}

func TestHubsOfASiteAreItsNetworks(t *testing.T) {
	_, err := Load(with(t, map[string]string{"attachments.csv": "site,network,lan,hubs\n" +
		"avocet,kestrel,192.168.10.0/24,hub-nort\nbittern,kestrel,192.168.20.0/24,hub-south hub-south\n"}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`attachments.csv:2: hubs: "hub-nort" is not a hub of kestrel`, "hint: hub-north", `attachments.csv:3: hubs: "hub-south" is listed twice`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}
