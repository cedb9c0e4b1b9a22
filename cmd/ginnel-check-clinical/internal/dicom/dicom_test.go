package dicom

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

// once runs one echo of a peer.
func once(t *testing.T, address string, options map[string]any) checks.Result {
	t.Helper()
	check, err := Kind().Make(checks.Target{Check: "pacs", Address: address, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := check.Run(ctx)
	if err := r.Valid(); err != nil {
		t.Errorf("%v: %+v", err, r)
	}
	return r
}

func TestSuite(t *testing.T) {
	silent := scripted(t, nil)
	nobody := loopback(freePort(t))
	options := map[string]any{"called": "STORESCP"}
	checktest.Run(t, checktest.Subject{
		Kind:     Kind(),
		Good:     checks.Target{Address: storescp(t), Options: options},
		Timed:    true,
		Refusing: &checks.Target{Address: nobody, Options: options},
		Silent:   &checks.Target{Address: silent, Options: options},
	})
}

// TestStoreSCP asks DCMTK's node, each step timed apart.
func TestStoreSCP(t *testing.T) {
	r := once(t, storescp(t), map[string]any{"called": "STORESCP"})
	if r.Verdict != checks.OK || !strings.HasPrefix(r.Detail, "OFFIS_DCMTK") {
		t.Fatalf("got %+v", r)
	}
	var names []string
	for _, s := range r.Steps {
		names = append(names, strings.Fields(s.Name)[0])
		if s.Took <= 0 {
			t.Errorf("%s took %v", s.Name, s.Took)
		}
	}
	if want := []string{"connect", "associate", "echo", "release"}; !slices.Equal(names, want) {
		t.Errorf("steps %q, want %q", names, want)
	}
}

// TestNoWaitForAcknowledgement: DCMTK writes its answer in two pieces and holds
// the second back until the first is acknowledged, which the kernel does after
// 40 ms unless it is told to do so at once. The best of many has to be without.
func TestNoWaitForAcknowledgement(t *testing.T) {
	address, best := storescp(t), time.Hour
	for range 20 {
		r := once(t, address, map[string]any{"called": "STORESCP"})
		if r.Verdict != checks.OK {
			t.Fatalf("got %+v", r)
		}
		best = min(best, r.RTT[0])
	}
	if best > 30*time.Millisecond {
		t.Errorf("the shortest of 20 echoes took %v: that is the kernel's wait, not the system's", best)
	}
}

// TestOrthanc asks a PACS that checks who calls whom.
func TestOrthanc(t *testing.T) {
	address := orthanc(t)
	for _, c := range []struct {
		name, called, calling string
		verdict               checks.Verdict
		reason                checks.Reason
		says                  string
	}{
		{"known", "ORTHANC", "GINNEL", checks.OK, "", ""},
		{"wrong called", "OTHER", "GINNEL", checks.Failed, checks.Refused, "rejected for good: it is not OTHER (called)"},
		{"unknown calling", "ORTHANC", "STRANGER", checks.Failed, checks.Refused, "at the echo: some systems do so to an AE title (STRANGER)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := once(t, address, map[string]any{"called": c.called, "calling": c.calling})
			if r.Verdict != c.verdict || r.Reason != c.reason || !strings.Contains(r.Detail, c.says) {
				t.Errorf("got %s, %q: %s", r.Verdict, r.Reason, r.Detail)
			}
		})
	}
}

// acceptance is an A-ASSOCIATE-AC.
func acceptance(result byte, syntax, version string) []byte {
	b := make([]byte, acceptHead)
	b = append(b, item(0x10, []byte(applicationContext))...)
	b = append(b, item(0x21, append([]byte{contextID, 0, result, 0}, item(0x40, []byte(syntax))...))...)
	b = append(b, item(0x50, item(0x55, []byte(version)))...)
	return pdu{associateAC, b}.bytes()
}

// answer is a C-ECHO-RSP as a command set.
func answer(id, code uint16, comment string) []byte {
	set := element(commandField, short(echoRSP))
	set = append(set, element(respondedTo, short(id))...)
	set = append(set, element(status, short(code))...)
	return append(set, element(errorComment, []byte(comment))...)
}

// fragment is one in a P-DATA-TF of its own.
func fragment(context, control byte, set []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(set)+2))
	return pdu{dataTF, append(append(b, context, control), set...)}.bytes()
}

// TestVerdicts goes through what a peer can say.
func TestVerdicts(t *testing.T) {
	good := acceptance(0, implicitLittle, "TEST_1")
	reject := func(b ...byte) []byte { return pdu{associateRJ, append([]byte{0}, b...)}.bytes() }
	last := byte(commandFragment | lastFragment)
	echoes := func(b []byte) [][]byte { return [][]byte{good, b} }
	for _, c := range []struct {
		name    string
		answers [][]byte
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		says    string
	}{
		{"good, in pieces", echoes(append(fragment(1, commandFragment, answer(1, 0, "")[:11]), fragment(1, last, answer(1, 0, "")[11:])...)), checks.OK, "", "", "TEST_1"},
		{"calling unknown", [][]byte{reject(1, 1, 3)}, checks.Failed, checks.Refused, checks.PhaseRequest, "for good: it does not know our AE title GINNEL (calling)"},
		{"called unknown", [][]byte{reject(1, 1, 7)}, checks.Failed, checks.Refused, checks.PhaseRequest, "it is not PACS (called)"},
		{"congested", [][]byte{reject(2, 3, 1)}, checks.Failed, checks.Refused, checks.PhaseRequest, "for now: it is congested"},
		{"full", [][]byte{reject(2, 3, 2)}, checks.Failed, checks.Refused, checks.PhaseRequest, "for now: it has as many associations as it takes"},
		{"odd reason", [][]byte{reject(1, 9, 9)}, checks.Failed, checks.Refused, checks.PhaseRequest, "source 9, reason 9"},
		{"short rejection", [][]byte{pdu{associateRJ, []byte{0}}.bytes()}, checks.Failed, checks.Protocol, checks.PhaseRequest, "a rejection of 1 bytes"},
		{"no verification", [][]byte{acceptance(3, implicitLittle, "")}, checks.Failed, checks.Assertion, checks.PhaseRequest, "it does not know Verification"},
		{"another syntax", [][]byte{acceptance(0, "1.2.840.10008.1.2.2", "")}, checks.Failed, checks.Protocol, checks.PhaseRequest, "1.2.840.10008.1.2.2"},
		{"acceptance of nothing", [][]byte{pdu{associateAC, make([]byte, acceptHead)}.bytes()}, checks.Failed, checks.Protocol, checks.PhaseRequest, "says nothing of what we asked for"},
		{"abort at once", [][]byte{pdu{abortPDU, []byte{0, 0, 2, 2}}.bytes()}, checks.Failed, checks.Refused, checks.PhaseRequest, "a PDU that it did not expect"},
		{"abort at the echo", echoes(pdu{abortPDU, []byte{0, 0, 0, 0}}.bytes()), checks.Failed, checks.Refused, checks.PhaseResponse, "AE title (GINNEL)"},
		{"not authorised", echoes(fragment(1, last, answer(1, 0x0124, "go away"))), checks.Failed, checks.Assertion, checks.PhaseAssert, "status 0124: it does not authorise us (go away)"},
		{"another message", echoes(fragment(1, last, answer(7, 0, ""))), checks.Failed, checks.Protocol, checks.PhaseResponse, "message 7"},
		{"another context", echoes(fragment(3, last, answer(1, 0, ""))), checks.Failed, checks.Protocol, checks.PhaseResponse, "context 3"},
		{"data", echoes(fragment(1, lastFragment, answer(1, 0, ""))), checks.Failed, checks.Protocol, checks.PhaseResponse, "data where a command should be"},
		{"a long command", echoes(fragment(1, commandFragment, make([]byte, commandMost))), checks.Failed, checks.Protocol, checks.PhaseResponse, "more than 4096"},
		{"an endless PDU", [][]byte{{associateAC, 0, 0xff, 0xff, 0xff, 0xff}}, checks.Failed, checks.Protocol, checks.PhaseRequest, "4294967295 bytes"},
		{"no DICOM", [][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, checks.Failed, checks.Protocol, checks.PhaseRequest, "no DICOM"},
		{"a release at once", [][]byte{release().bytes()}, checks.Failed, checks.Protocol, checks.PhaseRequest, "not to be expected"},
		{"hangs up", [][]byte{[]byte(hangUp)}, checks.Failed, checks.Protocol, checks.PhaseRequest, "closed by the other side"},
		{"hangs up at the echo", echoes([]byte(hangUp)), checks.Failed, checks.Protocol, checks.PhaseResponse, "closed by the other side"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := once(t, scripted(t, c.answers...), map[string]any{"called": "PACS"})
			if r.Verdict != c.verdict || r.Reason != c.reason || r.Phase != c.phase || !strings.Contains(r.Detail, c.says) {
				t.Errorf("got %s, %q, phase %q: %s", r.Verdict, r.Reason, r.Phase, r.Detail)
			}
		})
	}
}

// TestTLS asks DCMTK's node over TLS, with a certificate that is believed and one
// that is not.
func TestTLS(t *testing.T) {
	key, cert := filepath.Join(t.TempDir(), "key.pem"), filepath.Join(t.TempDir(), "cert.pem")
	issue(t, key, cert)
	address := storescp(t, "+tls", key, cert, "-ic")
	for _, c := range []struct {
		name    string
		options map[string]any
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
	}{
		{"believed", map[string]any{"roots": cert}, checks.OK, "", ""},
		{"not believed", nil, checks.Failed, checks.Certificate, checks.PhaseTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := map[string]any{"called": "STORESCP", "tls": true}
			maps.Copy(options, c.options)
			r := once(t, address, options)
			if r.Verdict != c.verdict || r.Reason != c.reason || r.Phase != c.phase {
				t.Errorf("got %s, %q, phase %q: %s", r.Verdict, r.Reason, r.Phase, r.Detail)
			}
		})
	}
}

// issue writes a key, and a certificate of it for loopback, in PEM.
func issue(t *testing.T, keyFile, certFile string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		keyFile:  {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
		certFile: {Type: "CERTIFICATE", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnotherProgram: an upgrade is seen.
func TestAnotherProgram(t *testing.T) {
	e := &echo{}
	for _, c := range [][2]string{{"A_1", "A_1"}, {"A_1", "A_1"}, {"A_2", "A_2, until now A_1"}, {"A_2", "A_2"}} {
		u := &run{echo: e}
		if u.remember(c[0]); u.r.Detail != c[1] {
			t.Errorf("got %q, want %q", u.r.Detail, c[1])
		}
	}
}

func TestRefusesOptions(t *testing.T) {
	for option, options := range map[string]map[string]any{
		"called":  {"called": "SEVENTEEN_LETTERS"},
		"calling": {"called": "PACS", "calling": "A\\B"},
	} {
		_, err := Kind().Make(checks.Target{Address: "192.0.2.1:104", Options: options})
		if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != option {
			t.Errorf("%s: got %v", option, err)
		}
	}
	if _, err := Kind().Make(checks.Target{Address: "192.0.2.1"}); err == nil || !strings.Contains(err.Error(), "called") {
		t.Errorf("without a title: %v", err)
	}
}

// FuzzAnswers feeds what a peer may say to all that reads it.
func FuzzAnswers(f *testing.F) {
	f.Add(acceptance(0, implicitLittle, "TEST_1"))
	f.Add(fragment(1, commandFragment|lastFragment, answer(1, 0, "fine")))
	f.Add(pdu{associateRJ, []byte{0, 1, 1, 7}}.bytes())
	f.Add(pdu{abortPDU, []byte{0, 0, 2, 6}}.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readPDU(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		if len(p.body) > pduMost {
			t.Fatalf("a body of %d bytes", len(p.body))
		}
		u := &run{echo: &echo{called: "PACS", calling: "GINNEL"}}
		if a, fault := u.associated(p); fault == nil && (a.context != 0 || a.syntax != implicitLittle) {
			t.Errorf("took %+v", a)
		}
		var c command
		if c.take(p.body) == nil && c.complete {
			if r, err := c.parse(echoID); err == nil && r.explain() == "" {
				t.Error("no words for a status")
			}
		}
	})
}
