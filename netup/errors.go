package netup

import (
	"fmt"
	"strings"

	"netstage/netup/linktable"
	"netstage/stage1/fault"
)

// Error says why there is no network. Its class is one of no-nic, no-carrier,
// no-lease, no-route, or the class of the error that Options.Prove returned.
type Error struct {
	fault *fault.Error
	links []linktable.Row
}

// Error is one line: the cause and what was tried.
func (e *Error) Error() string { return e.fault.Error() }

// Links is the table of links when Up gave up.
func (e *Error) Links() []linktable.Row { return e.links }

// Unwrap gives the class, the last proofs that failed, and the end of the
// context or the last failed proof as the cause.
func (e *Error) Unwrap() error { return e.fault }

// failure describes the state of the race as an error; cause is why it ends.
func (n *Network) failure(cause error) *Error {
	links := n.Links()
	f := &fault.Error{Cause: cause}
	e := &Error{fault: f, links: links}
	n.board.mu.Lock()
	proofErr := n.board.proofErr
	for _, p := range n.board.proofs {
		f.Tried = append(f.Tried, p.String())
	}
	n.board.mu.Unlock()
	var carrier, lease bool
	for _, l := range links {
		carrier = carrier || l.Carrier
		lease = lease || l.Leased()
	}
	secs := fmt.Sprintf("%d s", seconds(n.started))
	switch {
	case len(links) == 0:
		describeNoNIC(f, n.board.ignoredLinks(), n.plan.Wanted(), secs)
	case !carrier:
		f.Class = fault.NoCarrier
		f.Text = "network: no carrier on " + names(links, func(linktable.Row) bool { return true }) + " after " + secs + " (cable, switch port)"
	case !lease:
		f.Class = fault.NoLease
		f.Text = "network: " + n.plan.NoAnswer() + " on " + names(links, func(l linktable.Row) bool { return l.Carrier }) + " after " + secs +
			faultOf(links, func(l linktable.Row) bool { return l.Carrier && l.Fault != carrierLost })
	case proofErr == nil:
		f.Class = fault.NoRoute
		f.Text = noPath(links, secs) + faultOf(links, linktable.Row.Leased)
	default:
		f.Class, f.Cause = fault.NoRoute, proofErr
		f.Text = noPath(links, secs) + ": " + proofErr.Error()
		if c := fault.GivenClass(proofErr); c != "" {
			f.Class = c
		}
	}
	return e
}

// describeNoNIC says that no link takes part, and which ones are left out: those
// ignored, as an operator wanted it.
func describeNoNIC(f *fault.Error, ignored []string, wanted, secs string) {
	f.Class, f.Tried = fault.NoNIC, ignored
	switch {
	case wanted != "":
		f.Text = "network: no network card as " + wanted + " wants it in " + secs
	case len(f.Tried) > 0:
		f.Text = "network: no network card of use in " + secs + ": " + strings.Join(f.Tried, "; ")
	default:
		f.Text = "network: no network card found in " + secs + " (no driver, or none fitted)"
	}
}

// noPath says which links have a lease that leads nowhere.
func noPath(links []linktable.Row, secs string) string {
	return "network: a lease but no path on " + names(links, linktable.Row.Leased) + " after " + secs
}

// faultOf is the first fault of such links, behind a colon; "" is none.
func faultOf(links []linktable.Row, pick func(linktable.Row) bool) string {
	for _, l := range links {
		if l.Fault != "" && pick(l) {
			return ": " + l.Fault
		}
	}
	return ""
}

// names lists such links.
func names(links []linktable.Row, pick func(linktable.Row) bool) string {
	var out []string
	for _, l := range links {
		if pick(l) {
			out = append(out, l.Name)
		}
	}
	return strings.Join(out, ", ")
}
