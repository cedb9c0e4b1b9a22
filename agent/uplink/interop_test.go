package uplink

import (
	"context"
	"crypto/sha256"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server"
	"github.com/open-telemetry/opamp-go/server/types"
)

// foreign is opamp-go's server package, used as its example server does: it keeps
// what agents say, asks for all where something is missing, and offers each a
// config as soon as it is described.
type foreign struct {
	mu     sync.Mutex
	agents map[uuid.UUID]*protobufs.AgentToServer
	heard  int
	asked  int // for the full state
}

func (f *foreign) onMessage(_ context.Context, _ types.Connection, m *protobufs.AgentToServer) *protobufs.ServerToAgent {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard++
	reply := &protobufs.ServerToAgent{}
	uid := uuid.UUID(m.GetInstanceUid())
	had := f.agents[uid]
	if had == nil || had.GetSequenceNum()+1 != m.GetSequenceNum() {
		if m.GetAgentDescription() == nil || m.GetHealth() == nil || m.GetEffectiveConfig() == nil || m.GetRemoteConfigStatus() == nil {
			reply.Flags = uint64(protobufs.ServerToAgentFlags_ServerToAgentFlags_ReportFullState)
			f.asked++
		}
	}
	if had == nil {
		had = &protobufs.AgentToServer{}
		f.agents[uid] = had
	}
	had.SequenceNum, had.Capabilities = m.GetSequenceNum(), m.GetCapabilities()
	if m.GetHealth() != nil {
		had.Health = m.GetHealth()
	}
	if m.GetEffectiveConfig() != nil {
		had.EffectiveConfig = m.GetEffectiveConfig()
	}
	if m.GetRemoteConfigStatus() != nil {
		had.RemoteConfigStatus = m.GetRemoteConfigStatus()
	}
	if m.GetAgentDescription() != nil {
		had.AgentDescription = m.GetAgentDescription()
		f.tempt(reply)
	}
	reply.ConnectionSettings = &protobufs.ConnectionSettingsOffers{Opamp: &protobufs.OpAMPConnectionSettings{HeartbeatIntervalSeconds: 1}}
	return reply
}

// tempt offers a config as the example does, and all that OpAMP has besides.
func (f *foreign) tempt(reply *protobufs.ServerToAgent) {
	body := []byte("exporters: {}\n")
	sum := sha256.Sum256(body)
	other := uuid.New()
	reply.RemoteConfig = &protobufs.AgentRemoteConfig{ConfigHash: sum[:], Config: &protobufs.AgentConfigMap{
		ConfigMap: map[string]*protobufs.AgentConfigFile{"": {Body: body}}}}
	reply.AgentIdentification = &protobufs.AgentIdentification{NewInstanceUid: other[:]}
	reply.PackagesAvailable = &protobufs.PackagesAvailable{AllPackagesHash: sum[:]}
	reply.CustomMessage = &protobufs.CustomMessage{Capability: "com.example.chat", Type: "hello", Data: []byte("[")}
}

func (f *foreign) start(t *testing.T, a *authority) string {
	t.Helper()
	handler, conn, err := server.New(nil).Attach(server.Settings{Callbacks: types.Callbacks{
		OnConnecting: func(*http.Request) types.ConnectionResponse {
			return types.ConnectionResponse{Accept: true, ConnectionCallbacks: types.ConnectionCallbacks{OnMessage: f.onMessage}}
		}}})
	if err != nil {
		t.Fatal(err)
	}
	return a.serveAs(http.HandlerFunc(handler), func(s *httptest.Server) {
		s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return conn(ctx, c) }
	}).URL
}

// A gateway shows up in opamp-go's example server, refuses the config that it is
// offered there, and takes nothing else.
func TestInForeignServer(t *testing.T) {
	a := newAuthority(t)
	f := &foreign{agents: map[uuid.UUID]*protobufs.AgentToServer{}}
	id := a.identity(f.start(t, a), time.Now(), time.Now().Add(time.Hour))
	h := &helm{refuse: "it is not signed"}
	u := running(t, Options{Identity: id, Version: "0.1.0", Steering: h, Effective: func() (string, string) { return "ab12", "generation = 7\n" }})
	seen := func() *protobufs.AgentToServer { return f.agents[id.UID()] }
	eventually(t, "it has said what it thinks of the config", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return seen().GetRemoteConfigStatus().GetStatus() == protobufs.RemoteConfigStatuses_RemoteConfigStatuses_FAILED
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256([]byte("exporters: {}\n"))
	m := seen()
	if s := m.GetRemoteConfigStatus(); string(s.GetLastRemoteConfigHash()) != string(sum[:]) || s.GetErrorMessage() != "it is not signed" {
		t.Errorf("status of the config: %v", s)
	}
	if len(f.agents) != 1 || f.asked > 0 || m.GetCapabilities() != uint64(capabilities|steered) {
		t.Errorf("%d agents, asked %d times for the full state, capabilities %b", len(f.agents), f.asked, m.GetCapabilities())
	}
	if !m.GetHealth().GetHealthy() || string(m.GetEffectiveConfig().GetConfigMap().GetConfigMap()["sha256:ab12"].GetBody()) != "generation = 7\n" {
		t.Errorf("health %v, config %v", m.GetHealth(), m.GetEffectiveConfig())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.offers) != 1 || len(h.offers[0]) != 0 || len(h.heard) != 0 || u.Status().Error != "" {
		t.Errorf("offers %q, heard %+v, error %q", h.offers, h.heard, u.Status().Error)
	}
}
