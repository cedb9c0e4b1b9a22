package swarm

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Illness is what a sick collector does with each request.
type Illness string

const (
	Drops    Illness = "drops"        // accepts a connection and closes it
	Busy     Illness = "503 for ever" // asks to come later, and does not say when
	Nonsense Illness = "garbage"      // answers with bytes that mean nothing
)

// Sick stands in the place of a collector that was stopped, with a certificate
// of its authority.
type Sick struct {
	stop func() error

	mu    sync.Mutex
	tries map[string]int // by path; of Drops, which sees none, all together
}

// Tries is how often gateways have tried: requests by their path, of which each is
// a loop of its own, or all connections of Drops.
func (s *Sick) Tries() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.tries)
}

func (s *Sick) tried(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries[path]++
}

// Stop makes the place free.
func (s *Sick) Stop() error { return s.stop() }

// Ill has a sick one take the place of c.
func (c *Collector) Ill(i Illness) (*Sick, error) {
	l, err := net.Listen("tcp", strings.TrimPrefix(c.URL, "https://"))
	if err != nil {
		return nil, err
	}
	s := &Sick{tries: map[string]int{}}
	if i == Drops {
		s.stop = l.Close
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				s.tried("connections")
				conn.Close()
			}
		}()
		return s, nil
	}
	cert, err := c.certificate()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.tried(r.URL.Path)
			if i == Busy {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/x-protobuf")
			w.Write([]byte{0xff, 0xfe, 0xfd})
		})}
	s.stop = srv.Close
	go srv.ServeTLS(l, "", "")
	return s, nil
}

// certificate is one by the collector's own authority, which lies in its data.
func (c *Collector) certificate() (tls.Certificate, error) {
	dir := filepath.Join(filepath.Dir(c.log), "collector")
	read := func(name string) ([]byte, error) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if b, _ := pem.Decode(text); b != nil {
			return b.Bytes, nil
		}
		return nil, errors.New(name + " is no PEM")
	}
	keyDER, err := read("ca.key")
	if err != nil {
		return tls.Certificate{}, err
	}
	any, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok {
		return tls.Certificate{}, errors.New("ca.key is no ECDSA key")
	}
	caDER, err := read("ca.crt")
	if err != nil {
		return tls.Certificate{}, err
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "sick"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
