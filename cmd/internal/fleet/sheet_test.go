package fleet

import (
	"bytes"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
)

func TestSheetsAsTheyCome(t *testing.T) {
	want := [][]string{{"avocet", "Café \"Old\", Surgery", "1"}, {"bittern", "two\nlines", ""}}
	for name, raw := range map[string]string{
		"plain":         "site,name,n\navocet,\"Café \"\"Old\"\", Surgery\",1\nbittern,\"two\nlines\",\n",
		"byte mark":     "\ufeffsite,name,n\navocet,\"Café \"\"Old\"\", Surgery\",1\nbittern,\"two\nlines\",\n",
		"CRLF":          "site,name,n\r\navocet,\"Café \"\"Old\"\", Surgery\",1\r\nbittern,\"two\nlines\",\r\n",
		"CR":            "site,name,n\ravocet,\"Café \"\"Old\"\", Surgery\",1\rbittern,\"two\nlines\",",
		"semicolons":    "site;name;n\navocet;\"Café \"\"Old\"\", Surgery\";1\nbittern;\"two\nlines\";\n",
		"tabs":          "site\tname\tn\navocet\t\"Café \"\"Old\"\", Surgery\"\t1\nbittern\t\"two\nlines\"\t\n",
		"sep":           "sep=|\nsite|name|n\navocet|Café \"Old\", Surgery|1\nbittern|\"two\nlines\"|\n",
		"Windows-1252":  "site,name,n\navocet,\"Caf\xe9 \"\"Old\"\", Surgery\",1\nbittern,\"two\nlines\",\n",
		"order":         "n,Site, NAME \n1,avocet,\"Café \"\"Old\"\", Surgery\"\n,bittern,\"two\nlines\"\n",
		"all in quotes": "\"site\",\"name\",\"n\"\n\"avocet\",\"Café \"\"Old\"\", Surgery\",\"1\"\n\"bittern\",\"two\nlines\",\"\"\n",
		"empty rows":    "site,name,n,\n,,,\navocet,\"Café \"\"Old\"\", Surgery\",1,\n\n\u00a0bittern ,\"two\nlines\"\n,,,\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, ps := parseSheet("sites.csv", []byte(raw))
			if len(ps) > 0 {
				t.Fatal(ps)
			}
			var got [][]string
			for _, r := range s.rows {
				if !r.blank() {
					got = append(got, []string{s.get(r, "site"), s.get(r, "name"), s.get(r, "n")})
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if back := s.bytes(); string(back) != raw {
				t.Errorf("written back:\n%q\nwant\n%q", back, raw)
			}
			s.set(s.rows[len(s.rows)-1], "n", "new")
			s.columns("more")
			again, ps := parseSheet("sites.csv", s.bytes())
			if len(ps) > 0 {
				t.Fatal(ps)
			}
			if last := again.rows[len(again.rows)-1]; again.get(last, "n") != "new" || again.latin != s.latin || again.bom != s.bom || again.comma != s.comma {
				t.Errorf("after a change: %q", s.bytes())
			}
		})
	}
}

func TestSheetsThatAreNone(t *testing.T) {
	for raw, want := range map[string]string{
		"PK\x03\x04...":                 "is a workbook, not CSV",
		"\xff\xfes\x00i\x00":            "is in UTF-16, not UTF-8",
		"site\x00name":                  "is not text",
		"site,name\na,\"b":              "sites.csv:2: opens a quote that is never closed",
		"site,name\na,\"b\"c\n":         "sites.csv:2: has something behind a closing quote: \"c\"",
		"site,name\na,b,c\n":            "sites.csv:2: has 3 cells; the first line has 2 columns",
		"site,name,Name\na,b\n":         "sites.csv:1: name: is a column twice, 2 and 3",
		strings.Repeat("a", sheetMax+1): "is larger than 32 MiB",
	} {
		_, ps := parseSheet("sites.csv", []byte(raw))
		if !strings.Contains(ps.Error(), want) {
			t.Errorf("%.20q: %v, want %q", raw, ps, want)
		}
	}
}

// Every byte of Windows-1252 comes back as it was.
func TestLatinComesBack(t *testing.T) {
	same := func(raw []byte) bool {
		back, ok := toLatin(fromLatin(raw))
		return ok && bytes.Equal(back, raw)
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
	if _, ok := toLatin("Ł"); ok {
		t.Error("a letter that Windows-1252 has not was written")
	}
}

// FuzzSheet reads anything, and what nobody changed is written back as it was.
func FuzzSheet(f *testing.F) {
	for _, s := range []string{"", "site,name\navocet,\"a \"\"b\"\"\"\n", "sep=;\nsite;name\r\na;b\r\n", "\ufeffsite\r\"", "Caf\xe9,\x80\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, ps := parseSheet("sites.csv", raw)
		if len(ps) > 0 && ps[0].Line == 0 {
			return // refused as a whole
		}
		if back := s.bytes(); !bytes.Equal(back, raw) {
			t.Fatalf("%q was written back as %q", raw, back)
		}
		for _, r := range s.rows {
			if r.line < 1 || r.line > bytes.Count(raw, []byte("\n"))+bytes.Count(raw, []byte("\r"))+1 {
				t.Fatalf("%q: a row in line %d", raw, r.line)
			}
		}
		if len(s.header) > 0 && len(ps) == 0 { // what is written anew reads as the same cells
			for _, r := range s.rows {
				r.raw = ""
			}
			again, _ := parseSheet("sites.csv", s.bytes())
			for i, r := range again.rows {
				if d := cmp.Diff(s.rows[i].cells, r.cells); d != "" && len(s.rows) == len(again.rows) {
					t.Fatalf("%q: -before +after:\n%s", raw, d)
				}
			}
		}
	})
}
