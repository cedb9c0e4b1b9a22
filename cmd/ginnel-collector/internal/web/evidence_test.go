package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
)

func TestEvidencePage(t *testing.T) {
	d := newDesk(t)
	d.site("avocet", "Avocet Surgery", checks.Up, time.Second)
	b, text := storetest.Evidence(t, "kestrel", time.Hour)
	must(t, d.store.SaveEvidence(t.Context(), "avocet-1", b.ID, text, now))
	at := "/sites/avocet/evidence/avocet-1/" + b.ID
	if _, body, _ := d.get("/sites/avocet"); !strings.Contains(body, `href="`+at+`"`) || !strings.Contains(body, "GN-SVC-02") {
		t.Errorf("the site's page does not lead to it:\n%s", body)
	}
	p := d.page(at, http.StatusOK)
	p.sound()
	p.want("page", "Records went from up to down", []string{textOf(p, "h1")})
	p.want("page", "A service refuses the connection. GN-SVC-02", []string{textOf(p, "main")})
	p.want("page", "2 of 2 answered, half of them within 12 ms; from then on 0 of 2 answered", []string{textOf(p, "main")})
	p.want("table", "-1.00 answered 12 ms", p.rows())
	p.want("table", "+0.00 refused -", p.rows())
	p.want("list", "hop 1: 100.64.1.1, 1 ms", []string{textOf(p, "main")})
	if _, body, _ := d.get(at); strings.Contains(body, "<b>") || !strings.Contains(body, "&lt;b&gt;refused") || strings.Count(body, "<rect") < 4 {
		t.Error("it is not escaped, or not drawn")
	}
	for _, path := range []string{"/sites/avocet/evidence/bittern-1/" + b.ID, "/sites/avocet/evidence/avocet-1/20261123T141502-9f3a01c7", "/sites/none/evidence/avocet-1/" + b.ID} {
		d.page(path, http.StatusNotFound)
	}
}

func textOf(p page, name string) string { return text(p.all(name)[0]) }

// TestEvidenceIsScoped has operators of one organisation see what was seen of
// their network, and nothing of another.
func TestEvidenceIsScoped(t *testing.T) {
	d, _ := two(t)
	b, doc := storetest.Evidence(t, "kestrel", time.Hour)
	must(t, d.store.SaveEvidence(t.Context(), "avocet-1", b.ID, doc, now))
	for who, sees := range map[string]bool{"sam": true, "kim": true, "hal": false} {
		list, err := d.as(who).Evidence(t.Context(), "avocet")
		if err != nil || (len(list) == 1) != sees {
			t.Errorf("%s is listed %d, %v", who, len(list), err)
		}
		got, err := d.as(who).EvidenceOf(t.Context(), "avocet", "avocet-1", b.ID)
		if (err == nil && got.ID == b.ID) != sees {
			t.Errorf("%s: %v", who, err)
		}
		_, body, _ := d.get("/sites/avocet", "X-Operator", who)
		if strings.Contains(body, b.ID) != sees {
			t.Errorf("%s on the site's page", who)
		}
	}
}
