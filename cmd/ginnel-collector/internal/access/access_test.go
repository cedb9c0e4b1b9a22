package access

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
)

const shared = `gateway = "avocet-1"

[[network]]
name    = "kestrel"
address = ["100.64.0.7/32"]
lan     = ["192.168.10.0/24"]

[[network.hub]]
name        = "hub-north"
public_key  = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
endpoints   = ["192.0.2.10:51820"]
allowed_ips = ["100.64.0.1/32", "198.51.100.0/24"]

[[network]]
name    = "heron"
address = ["100.64.64.7/32"]
lan     = ["192.168.10.0/24"]

[[network.hub]]
name        = "hub-south"
public_key  = "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE="
endpoints   = ["192.0.2.20:51820"]
allowed_ips = ["100.64.64.1/32", "203.0.113.0/24"]

[[check]]
name    = "records"
kind    = "tcp"
network = "kestrel"
target  = "198.51.100.20:443"

[[check]]
name    = "results"
kind    = "tcp"
network = "heron"
target  = "203.0.113.40:443"

[[check]]
name   = "internet"
kind   = "tcp"
target = "192.0.2.53:53"
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var kestrel = Scope{Operator: Operator{Name: "kim", Organisation: "kestrel"}, Of: map[string]string{"kestrel": "kestrel", "heron": "heron"}}

func TestMayReplace(t *testing.T) {
	alone := shared[:strings.Index(shared, "[[network]]\nname    = \"heron\"")] + shared[strings.Index(shared, "[[check]]\nname    = \"records\""):strings.Index(shared, "[[check]]\nname    = \"results\"")]
	for name, c := range map[string]struct {
		text, old, new string // of text, what new takes the place of
		want           string // in the refusal; empty: none
	}{
		"the same":            {shared, "", "", ""},
		"own endpoint":        {shared, "192.0.2.10:51820", "192.0.2.11:51820", ""},
		"own check":           {shared, "198.51.100.20:443", "198.51.100.20:8443", ""},
		"other's endpoint":    {shared, "192.0.2.20:51820", "192.0.2.21:51820", "network heron"},
		"other's prefix":      {shared, "203.0.113.0/24", "203.0.113.0/25", "network heron"},
		"other's address":     {shared, "100.64.64.7/32", "100.64.64.8/32", "network heron"},
		"other's check":       {shared, "203.0.113.40:443", "203.0.113.41:443", "check results"},
		"other's check taken": {shared, "name    = \"results\"\nkind    = \"tcp\"\nnetwork = \"heron\"", "name    = \"results\"\nkind    = \"tcp\"\nnetwork = \"kestrel\"", "check results"},
		"beside, shared":      {shared, "192.0.2.53:53", "192.0.2.54:53", "check internet"},
		"deadline, shared":    {shared, `gateway = "avocet-1"`, "gateway = \"avocet-1\"\ntrial = \"20s\"", "trial"},
		"collector, shared":   {shared, `gateway = "avocet-1"`, "gateway = \"avocet-1\"\ncollector = [\"https://other.example.net\"]", "collector"},
		"another gateway":     {shared, `gateway = "avocet-1"`, `gateway = "bittern-1"`, "gateway would"},
		"alone, deadline":     {alone, `gateway = "avocet-1"`, "gateway = \"avocet-1\"\ntrial = \"20s\"", ""},
		"alone, beside":       {alone, "[[check]]", "[[check]]\nname = \"internet\"\nkind = \"tcp\"\ntarget = \"192.0.2.53:53\"\n\n[[check]]", ""},
		"alone, into another": {alone, "[[check]]", shared[strings.Index(shared, "[[network]]\nname    = \"heron\""):strings.Index(shared, "[[check]]")] + "[[check]]", "network heron"},
	} {
		t.Run(name, func(t *testing.T) {
			now, next := parse(t, c.text), parse(t, strings.Replace(c.text, c.old, c.new, 1))
			err := kestrel.MayReplace(now, next)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err := (Scope{}).MayReplace(now, next); err != nil {
				t.Errorf("of all organisations: %v", err)
			}
		})
	}
	if err := kestrel.MayReplace(nil, parse(t, alone)); err != nil {
		t.Errorf("a first config: %v", err)
	}
	if err := kestrel.MayReplace(nil, parse(t, shared)); err == nil {
		t.Error("a first config into another's network was let through")
	}
}

func TestScope(t *testing.T) {
	for _, c := range []struct {
		networks  []string
		see, owns bool
	}{
		{[]string{"kestrel"}, true, true},
		{[]string{"kestrel", "heron"}, true, false},
		{[]string{"heron"}, false, false},
		{[]string{"nobody's"}, false, false},
		{nil, false, false},
	} {
		if see, owns := kestrel.Sees(c.networks), kestrel.Owns(c.networks); see != c.see || owns != c.owns {
			t.Errorf("%v: sees %v, owns %v", c.networks, see, owns)
		}
		if !(Scope{}).Sees(c.networks) || !(Scope{}).Owns(c.networks) {
			t.Errorf("%v: hidden from those of all organisations", c.networks)
		}
	}
}

func TestOnlyThisMachineIsLocal(t *testing.T) {
	for remote, want := range map[string]bool{"": true, "@": true, "127.0.0.1:9": true, "[::1]:9": true, "[::ffff:127.0.0.1]:9": true,
		"192.0.2.1:9": false, "[2001:db8::1]:9": false, "[::ffff:192.0.2.1]:9": false, "x": false} {
		if got := local(remote); got != want {
			t.Errorf("%q: %v", remote, got)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		if o, err := (Gate{}).Who(r); (err == nil) != want || want && o.Name != Local {
			t.Errorf("%q: %+v, %v", remote, o, err)
		}
		r.Header.Set("X-User", "sam")
		if want {
			continue
		}
		if _, err := (Gate{Header: "X-User"}).Who(r); err == nil {
			t.Errorf("%q: named an operator", remote)
		}
	}
}
