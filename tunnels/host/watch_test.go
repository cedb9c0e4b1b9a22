package host

import (
	"context"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"
)

func TestWatch(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	sh(t, "ip link add lan type veth peer name far; ip link set lan up")
	var woken atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Watch(ctx, func() { woken.Add(1) }) }()
	eventually(t, "it wakes at the beginning", func() bool { return woken.Load() > 0 })

	quiet := func() int64 { // no event for long enough that none is on its way
		for {
			before := woken.Load()
			time.Sleep(3 * settle)
			if woken.Load() == before {
				return before
			}
		}
	}
	for _, change := range []string{
		"ip link set lan down", "ip link set lan up", "ip addr add 192.168.10.1/24 dev lan", "ip addr del 192.168.10.1/24 dev lan",
		"ip route add 203.0.113.0/24 dev lan proto 103 table 7001", "ip route del 203.0.113.0/24 table 7001",
		"ip route add default dev lan", "ip -6 rule add lookup 7001 priority 5000 protocol 103",
		"ip rule add lookup 7001 priority 5000 protocol 103", "ip rule del priority 5000",
		"nft add table inet ginnel_x", "nft add chain inet ginnel_x c", "nft add rule inet ginnel_x c accept",
		"nft add set inet ginnel_x s '{ type ipv4_addr; }'", "nft add element inet ginnel_x s '{ 203.0.113.9 }'",
		"nft delete element inet ginnel_x s '{ 203.0.113.9 }'", "nft flush chain inet ginnel_x c", "nft delete chain inet ginnel_x c",
		"nft flush ruleset",
		"echo 1 > /proc/sys/net/ipv4/conf/lan/forwarding", "echo 1 > /proc/sys/net/ipv4/conf/lan/rp_filter",
		"echo 1 > /proc/sys/net/ipv6/conf/all/forwarding", "ip link set lan alias x", "ip link del lan",
	} {
		before := quiet()
		sh(t, change)
		eventually(t, change, func() bool { return woken.Load() > before })
	}

	// Many events are one; others' routes, rules and tables are none.
	others := quiet()
	sh(t, `nft 'add table inet other; add set inet other s { type ipv4_addr; }'; nft add element inet other s '{ 203.0.113.9 }'
		nft delete table inet other; ip rule add lookup 7001 priority 5000; ip rule del priority 5000`)
	if after := quiet(); after != others {
		t.Errorf("a table and a rule of somebody else woke %d times", after-others)
	}
	sh(t, `ip link add lan type veth peer name far; ip link set lan addrgenmode none; ip link set far addrgenmode none
		ip link set lan up; ip link set far up`)
	before := quiet()
	sh(t, "for i in $(seq 200); do echo route add 203.0.113.$i dev lan; done | ip -batch -")
	if after := quiet(); after != before {
		t.Errorf("200 routes of somebody else woke %d times", after-before)
	}
	before = quiet()
	sh(t, "for i in $(seq 200); do echo route add 198.51.100.$i dev lan proto 103; done | ip -batch -")
	if after := quiet(); after == before || after-before > 5 {
		t.Errorf("200 routes of ours woke %d times", after-before)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// When events come faster than they are read the kernel drops some and says so.
// Watch then asks anew, and wakes because of what it may have missed.
func TestWatchAfterLostEvents(t *testing.T) {
	if !apart(t) {
		return
	}
	sh(t, "ip link add lan type veth peer name far; ip link set lan up")
	was := subscriptions
	defer func() { subscriptions = was }()
	reading := make(chan struct{})
	subscriptions = []subscription{{was[0].family, was[0].groups, func(netlink.Message) bool { <-reading; return false }}}
	h := open(t)
	var woken atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Watch(ctx, func() { woken.Add(1) }) }()
	eventually(t, "it wakes at the beginning", func() bool { return woken.Load() == 1 })

	sh(t, "for i in $(seq 0 199); do for j in $(seq 0 49); do echo route add 100.64.$i.$j dev lan; done; done | ip -batch -")
	close(reading)
	eventually(t, "it wakes after the loss", func() bool { return woken.Load() == 2 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// While tens of thousands of routes of somebody else come and go, nothing of ours
// is missed: it wakes within two seconds of each removal.
func TestWatchUnderFlood(t *testing.T) {
	if !apart(t) {
		return
	}
	sh(t, "ip link add lan type veth peer name far; ip link set lan up; ip link set far up")
	h := open(t)
	woken := make(chan time.Time, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Watch(ctx, func() { woken <- time.Now() }) }()
	<-woken
	flood := exec.CommandContext(ctx, "sh", "-c", `awk 'BEGIN { for (i = 0; i < 40000; i++) printf "route replace 100.%d.%d.%d/32 dev lan\n", 64+i/65536, i/256%256, i%256 }' > /run/flood
		while :; do ip -batch /run/flood; ip route flush root 100.64.0.0/10; done`)
	must(t, flood.Start())
	time.Sleep(time.Second)
	var longest time.Duration
	for _, object := range []struct{ add, del string }{
		{"ip route add 203.0.113.0/24 dev lan proto 103 table 7001", "ip route flush table 7001"},
		{"ip rule add lookup 7001 priority 5000 protocol 103", "ip rule del priority 5000"},
		{"nft add table inet ginnel_x", "nft delete table inet ginnel_x"},
		{"true", "echo 1 > /proc/sys/net/ipv4/conf/lan/forwarding"},
	} {
		sh(t, object.add)
		time.Sleep(1500 * time.Millisecond) // for what that woke
		for len(woken) > 0 {
			<-woken
		}
		sh(t, object.del)
		removed := time.Now()
		select {
		case at := <-woken:
			longest = max(longest, at.Sub(removed))
		case <-time.After(5 * time.Second):
			t.Errorf("it sleeps on after %s", object.del)
		}
	}
	if longest > 2*time.Second {
		t.Errorf("it woke after %v", longest)
	}
	t.Logf("it woke after %v at most", longest)
	cancel()
	flood.Wait()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// While nothing can be heard it wakes all the same.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		began := time.Now()
		deaf(t.Context(), 3500*time.Millisecond, func() { n++ })
		if took := time.Since(began); n != 3 || took != 3500*time.Millisecond {
			t.Errorf("woke %d times in %v", n, took)
		}
	})
}

func TestDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan struct{}, 1)
		var mu sync.Mutex
		var at []time.Duration
		began := time.Now()
		go debounce(ctx, events, func() {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(began))
		})
		woken := func() []time.Duration {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			woke := at
			at, began = nil, time.Now()
			return woke
		}
		if at := woken(); len(at) != 0 {
			t.Errorf("woke without an event, at %v", at)
		}
		for range 5 { // 0 to 80 ms
			events <- struct{}{}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if at := woken(); len(at) != 1 || at[0] != 180*time.Millisecond {
			t.Errorf("woke at %v, want 180ms", at)
		}
		for range 70 { // 3.5 s of events
			events <- struct{}{}
			time.Sleep(50 * time.Millisecond)
		}
		if at := woken(); len(at) != 3 {
			t.Errorf("woke at %v while events went on, want about once a second", at)
		}
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
	})
}
