package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/agent/config/bundle"
)

// maxPack bounds a site pack, in bytes.
const maxPack = 1 << 20

// Server answers on the socket.
type Server struct {
	Path  string // empty: Socket
	Agent Agent
	Log   *slog.Logger // of panics; nil: none
}

// Run listens until ctx is done. It takes over the socket of an agent that is
// gone, and refuses while another one answers on it.
func (s *Server) Run(ctx context.Context, ready func()) error {
	ln, err := listen(s.path())
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	if s.Log != nil {
		srv.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelError)
	}
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(last) != nil {
			srv.Close()
		}
	})
	defer stop()
	ready()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.path(), err)
	}
	return nil
}

func (s *Server) path() string {
	if s.Path != "" {
		return s.Path
	}
	return Socket
}

// lingering is how long the socket of a killed agent may seem to answer: a program
// that it was just starting has it too, until it runs.
const lingering = 2 * time.Second

func answers(path string) bool {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// listen opens the socket for root and Group only: the directory is closed to
// others before the socket exists.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	for until := time.Now().Add(lingering); answers(path); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			return nil, fmt.Errorf("another agent answers on %s", path)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket that a former agent left: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	gid := -1
	if g, err := user.LookupGroup(Group); err == nil {
		gid, _ = strconv.Atoi(g.Gid)
	}
	if gid >= 0 && os.Chown(path, -1, gid) == nil {
		// The directory is entered by the group too; a service user that may
		// not give files away keeps what its unit made.
		_ = os.Chown(filepath.Dir(path), -1, gid)
		_ = os.Chmod(filepath.Dir(path), 0o750) // also where it was made for something else
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, fmt.Errorf("close the socket to others: %w", err)
	}
	return ln, nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.Agent.Snapshot())
	})
	mux.HandleFunc("GET /v1/why", func(w http.ResponseWriter, r *http.Request) {
		found, err := s.Agent.Why(r.Context(), r.FormValue("network"))
		if err != nil {
			answer(w, err)
			return
		}
		writeJSON(w, http.StatusOK, found)
	})
	mux.HandleFunc("GET /v1/report", s.report)
	s.checkRoutes(mux)
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		err := s.Agent.Reload(r.Context())
		if left, ok := errors.AsType[*LeftOut](err); ok {
			writeJSON(w, http.StatusOK, left)
			return
		}
		answer(w, err)
	})
	mux.HandleFunc("POST /v1/down", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Agent.Down(r.Context()))
	})
	mux.HandleFunc("POST /v1/rollback", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Agent.Rollback(r.Context()))
	})
	mux.HandleFunc("POST /v1/apply", s.apply)
	mux.HandleFunc("POST /v1/enrol", s.enrol)
	mux.HandleFunc("POST /v1/renew", func(w http.ResponseWriter, r *http.Request) {
		stream(w, "renew", func(tell func(Progress)) error {
			return s.Agent.Renew(r.Context(), r.FormValue("network"), tell)
		})
	})
	return mux
}

// failure is the body of an answer that is not 200.
type failure struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		writeJSON(w, http.StatusConflict, failure{err.Error(), hint(err)})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// hint finds what to do next in an error's chain; empty: nothing known.
func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}

// report answers for ?month=2026-11.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	month, err := time.Parse("2006-01", r.FormValue("month"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{"month: " + err.Error(), "a year and a month: 2026-11"})
		return
	}
	found, err := s.Agent.Report(r.Context(), report.Period{Year: month.Year(), Month: month.Month(), Until: time.Now()})
	if err != nil {
		answer(w, err)
		return
	}
	writeJSON(w, http.StatusOK, found)
}

// enrol takes a site pack.
func (s *Server) enrol(w http.ResponseWriter, r *http.Request) {
	pack, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPack))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{Error: fmt.Sprintf("read the site pack: %v", err)})
		return
	}
	stream(w, "enrol", func(tell func(Progress)) error { return s.Agent.Enrol(r.Context(), pack, tell) })
}

// apply takes a signed config. Its trial goes on when nobody listens any more.
func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bundle.MaxSize))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{Error: fmt.Sprintf("read the config: %v", err)})
		return
	}
	stream(w, "apply", func(tell func(Progress)) error { return s.Agent.Apply(r.Context(), raw, tell) })
}

// stream tells of an act, one Progress a line.
func stream(w http.ResponseWriter, name string, act func(tell func(Progress)) error) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	tell := func(p Progress) {
		_ = enc.Encode(p)
		_ = flush.Flush()
	}
	if err := act(tell); err != nil {
		tell(Progress{Step: name, Text: err.Error(), Hint: hint(err), Final: true})
		return
	}
	tell(Progress{Step: name, OK: true, Final: true})
}
