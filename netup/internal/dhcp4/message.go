package dhcp4

import (
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// newMessage is a client message with what every one of them carries. Its
// transaction number does not come from the kernel's random pool, which may
// not be filled this early.
func (c *Client) newMessage(t dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootRequest,
		HWType:        iana.HWTypeEthernet,
		ClientHWAddr:  c.MAC,
		ClientIPAddr:  net.IPv4zero,
		YourIPAddr:    net.IPv4zero,
		ServerIPAddr:  net.IPv4zero,
		GatewayIPAddr: net.IPv4zero,
		Options:       dhcpv4.Options{},
	}
	x := c.Rand.Uint32()
	m.TransactionID = dhcpv4.TransactionID{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}
	m.UpdateOption(dhcpv4.OptMessageType(t))
	id := c.ClientID
	if id == nil {
		id = append([]byte{byte(iana.HWTypeEthernet)}, c.MAC...)
	}
	m.UpdateOption(dhcpv4.OptClientIdentifier(id))
	return m
}

// newQuery is a client message that asks for something.
func (c *Client) newQuery(t dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m := c.newMessage(t)
	m.UpdateOption(dhcpv4.OptMaxMessageSize(maxMessage))
	m.UpdateOption(dhcpv4.OptClassIdentifier(c.Vendor))
	if c.Host != "" {
		m.UpdateOption(dhcpv4.OptHostName(c.Host))
	}
	if c.User != "" {
		// As iPXE sends it, and as the usual rules of servers match it: RFC
		// 3004's form would have its length before it.
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte(c.User)))
	}
	if c.User == "iPXE" { // what most rules for it look for: it can HTTP
		m.UpdateOption(dhcpv4.OptGeneric(optIPXE, []byte{19, 1, 1}))
	}
	// RFC 3442: 121 comes before 3.
	m.UpdateOption(dhcpv4.OptParameterRequestList(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter,
		dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList,
		dhcpv4.OptionHostName, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionNTPServers,
		dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
		dhcpv4.OptionServerIdentifier, dhcpv4.OptionTFTPServerName, dhcpv4.OptionBootfileName,
		optMSRoutes, optCache,
	))
	return m
}

// optIPXE is iPXE's own option, which holds others.
const optIPXE = dhcpv4.GenericOptionCode(175)

// asBOOTP is a DISCOVER as a BOOTP client would send it.
func (c *Client) asBOOTP(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	q := *m
	q.Options = dhcpv4.Options{}
	return &q
}
