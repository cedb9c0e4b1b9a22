package web

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

const nasty = `<script>alert(1)</script>'; DROP TABLE audit; --`

func (d *desk) act(e store.Event) {
	d.Helper()
	e.At = now
	must(d, d.store.Audit(d.Context(), e))
}

func TestAuditPage(t *testing.T) {
	d := county(t)
	p := d.page("/audit", 200)
	p.sound()
	p.want("page", "Nothing has been done yet", []string{text(p.all("main")[0])})
	for i := range auditPage {
		d.act(store.Event{Actor: "sam", Act: "enrol", Object: fmt.Sprint("s", i)})
	}
	d.act(store.Event{Actor: "kim", From: "192.0.2.9", Act: "site add", Object: nasty, Old: "a & b", New: nasty})
	d.act(store.Event{Actor: "-", Act: "enrol refused", Object: "192.0.2.7"})

	p = d.page("/audit", 200)
	p.sound()
	rows := p.rows()
	if len(rows) != auditPage+1 || !strings.HasPrefix(rows[2], "24 Nov 2026 14:12:00 kim 192.0.2.9 site add "+nasty+" was a & b is now "+nasty) {
		t.Errorf("%d rows: %s", len(rows), rows[2])
	}
	p.want("rows", "nobody known", rows[1:2])
	if n := len(p.all("script")); n != 0 {
		t.Errorf("%d scripts on a page that somebody may type into", n)
	}
	if refresh := attrOfRefresh(p); refresh != "" {
		t.Error("it reloads while somebody types")
	}
	for _, in := range p.all("input") {
		labelled := false
		for _, l := range p.all("label") {
			labelled = labelled || attr(l, "for") == attr(in, "id")
		}
		if !labelled {
			t.Errorf("input %s has no label", attr(in, "name"))
		}
	}
	older := ""
	for _, a := range p.all("a") {
		if text(a) == "Older" {
			older = attr(a, "href")
		}
	}
	if rows := d.page(older, 200).rows(); len(rows) != 3 || !strings.Contains(rows[2], " s0") {
		t.Errorf("older, at %q: %v", older, rows)
	}
	for query, want := range map[string]int{"actor=kim": 1, "object=" + url.QueryEscape(nasty): 1, "actor=sam&object=s7": 1, "actor=kim&object=s7": 0, "object=": auditPage} {
		rows := d.page("/audit?"+query, 200).rows()
		if got := max(0, len(rows)-1); got != want {
			t.Errorf("%s: %d acts, want %d", query, got, want)
		}
	}
	d.page("/audit?before=x", 400).sound()
}

func TestAuditAPI(t *testing.T) {
	d := newDesk(t)
	for i := range 3 {
		d.act(store.Event{Actor: "sam", Act: "x", Object: fmt.Sprint(i), Old: "a", New: "b"})
	}
	acts, err := d.client.Audit(t.Context(), 1, 1)
	if err != nil || len(acts) != 1 || acts[0].ID != 2 || acts[0].Object != "1" || acts[0].Old != "a" || !acts[0].At.Equal(now) {
		t.Errorf("%+v, %v", acts, err)
	}
	if _, body, _ := d.get("/api/v1/audit?after=9"); body != "[]\n" {
		t.Error(body)
	}
	_, err = d.client.Audit(t.Context(), 0, auditMost+1)
	refused(t, err, 400, "not a number from 0 to 1000")
}

func TestScopedOperatorReadsTheLog(t *testing.T) {
	d, _ := two(t)
	for _, e := range []store.Event{
		{Actor: "sam", Act: "a", Object: "egret"},
		{Actor: "sam", Act: "b", Object: "avocet", Old: "networks kestrel", New: "networks kestrel heron"},
		{Actor: "egret-1", Act: "c", Object: "egret-1"},
		{Actor: "curlew-1", Act: "d", Object: "curlew-1"},
		{Actor: "sam", Act: "e", Object: "1"},
		{Actor: "sam", Act: "f", Object: "2"},
		{Actor: "kim", Act: "g", Object: "what kim did"},
		{Actor: "-", Act: "h", Object: "192.0.2.7"},
		{Actor: "sam", Act: "i", Object: "heron"},
	} {
		d.act(e)
	}
	acts, err := d.as("kim").Audit(t.Context(), 0, 0)
	must(t, err)
	got := ""
	for _, a := range acts {
		got += a.Act
	}
	if got != "bdfg" {
		t.Errorf("kim reads %s, want bdfg", got)
	}
	if acts[0].Old != "networks kestrel" || strings.Contains(acts[0].New, "heron") {
		t.Errorf("%+v", acts[0])
	}
	if _, body, _ := d.get("/audit", "X-Operator", "kim"); strings.Contains(body, "heron") || !strings.Contains(body, "what kim did") {
		t.Error(body)
	}
	if all, err := d.as("sam").Audit(t.Context(), 0, 0); err != nil || len(all) != 9 {
		t.Errorf("%d, %v", len(all), err)
	}
	// More acts of others than are read at once stand between.
	for range auditMost + 1 {
		d.act(store.Event{Actor: "hal", Act: "z", Object: "egret", At: now.Add(time.Second)})
	}
	d.act(store.Event{Actor: "kim", Act: "last", Object: "curlew"})
	if acts, err := d.as("kim").Audit(t.Context(), acts[3].ID, 5); err != nil || len(acts) != 1 || acts[0].Act != "last" {
		t.Errorf("%+v, %v", acts, err)
	}
}
