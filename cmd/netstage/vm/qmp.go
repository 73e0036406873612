package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// qmp is a client of QEMU's control channel (QEMU, docs/interop/qmp-spec).
type qmp struct {
	conn    net.Conn
	answers chan qmpMessage
	ended   chan struct{} // closed when there is nothing more to read

	mu       sync.Mutex // one command at a time
	lock     sync.Mutex // of the fields below
	shutdown string     // why the machine shut down, once it did
}

// A qmpMessage is anything that QEMU says.
type qmpMessage struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
}

// dialQMP connects to the socket as soon as QEMU listens there.
func dialQMP(ctx context.Context, path string) (*qmp, error) {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			q := &qmp{conn: conn, answers: make(chan qmpMessage, 1), ended: make(chan struct{})}
			go q.read()
			if _, err := q.command(ctx, "qmp_capabilities", nil); err != nil {
				q.close()
				return nil, err
			}
			return q, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to QEMU's control channel: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// read takes messages until QEMU closes the channel.
func (q *qmp) read() {
	defer close(q.ended)
	decoder := json.NewDecoder(q.conn)
	for {
		var m qmpMessage
		if decoder.Decode(&m) != nil {
			return
		}
		switch {
		case m.Event == "SHUTDOWN":
			q.lock.Lock()
			q.shutdown = m.Data.Reason
			q.lock.Unlock()
		case m.Return != nil || m.Error != nil:
			select {
			case q.answers <- m:
			default: // to a command that was given up
			}
		}
	}
}

// command executes a command and returns its answer.
func (q *qmp) command(ctx context.Context, name string, arguments any) (json.RawMessage, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.answers: // to a command that was given up
	default:
	}
	message := map[string]any{"execute": name}
	if arguments != nil {
		message["arguments"] = arguments
	}
	if err := json.NewEncoder(q.conn).Encode(message); err != nil {
		return nil, fmt.Errorf("QEMU's %s: %w", name, err)
	}
	m, err := q.answer(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("QEMU's %s: %w", name, err)
	case m.Error != nil:
		return nil, fmt.Errorf("QEMU's %s: %s: %s", name, m.Error.Class, m.Error.Desc)
	}
	return m.Return, nil
}

// answer waits for the answer to a command. It may be the last that QEMU says:
// what ends the machine is answered, too.
func (q *qmp) answer(ctx context.Context) (qmpMessage, error) {
	select {
	case m := <-q.answers:
		return m, nil
	case <-q.ended:
	case <-ctx.Done():
		return qmpMessage{}, ctx.Err()
	}
	select {
	case m := <-q.answers:
		return m, nil
	default:
		return qmpMessage{}, errEnded
	}
}

var errEnded = errors.New("the machine has ended")

// reason is QEMU's word for why the machine shut down, "" while it runs.
func (q *qmp) reason() string {
	q.lock.Lock()
	defer q.lock.Unlock()
	return q.shutdown
}

func (q *qmp) close() {
	q.conn.Close()
	<-q.ended
}
