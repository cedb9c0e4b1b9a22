package uplink

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/wire"
)

// maxOffer is the size in bytes of the largest answer that is read: one with a
// signed config. What else is in it has the room of every other answer.
const maxOffer = bundle.MaxSize + maxAnswer

// opamp is one exchange of the plain HTTP transport.
func (t *transport) opamp(ctx context.Context, base string, m *protobufs.AgentToServer, head http.Header) (*protobufs.ServerToAgent, error) {
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write a message: %w", err)
	}
	if head == nil {
		head = http.Header{}
	}
	head.Set("Content-Type", opampType)
	if uid, err := uuid.FromBytes(m.GetInstanceUid()); err == nil {
		head.Set("OpAMP-Instance-UID", uid.String())
	}
	if raw, err = squeeze(head, raw); err != nil {
		return nil, err
	}
	answer, err := t.post(ctx, base, opampPath, head, raw, want{opampType, maxOffer})
	if err != nil {
		return nil, err
	}
	var reply protobufs.ServerToAgent
	if err := proto.Unmarshal(answer, &reply); err != nil {
		return nil, &Trouble{Kind: Broken, Text: "the collector's answer cannot be read", Err: err}
	}
	config := reply.GetRemoteConfig().GetConfig().GetConfigMap()[wire.BundleFile].GetBody()
	if rest := len(answer) - len(config); rest > maxAnswer {
		return nil, &Trouble{Kind: Broken, Text: fmt.Sprintf("the collector's answer has %d bytes beside a config, at most %d are read", rest, maxAnswer)}
	}
	return &reply, nil
}

// equal says whether two are the same news.
func (o OfferStatus) equal(p OfferStatus) bool {
	return string(o.Hash) == string(p.Hash) && o.State == p.State && o.Message == p.Message
}

// status is o in OpAMP's words, whose numbers are ours.
func (o OfferStatus) status() *protobufs.RemoteConfigStatus {
	return &protobufs.RemoteConfigStatus{LastRemoteConfigHash: o.Hash, Status: protobufs.RemoteConfigStatuses(o.State), ErrorMessage: o.Message}
}
