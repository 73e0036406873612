package dhcp4

import (
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// bare is a client message with what every one of them carries. Its
// transaction number does not come from the kernel's random pool, which may
// not be filled this early.
func (c *Client) bare(t dhcpv4.MessageType) *dhcpv4.DHCPv4 {
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

// message is a client message that asks for something.
func (c *Client) message(t dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m := c.bare(t)
	m.UpdateOption(dhcpv4.OptMaxMessageSize(maxMessage))
	m.UpdateOption(dhcpv4.OptClassIdentifier(c.Vendor))
	if c.Host != "" {
		m.UpdateOption(dhcpv4.OptHostName(c.Host))
	}
	if c.User != "" {
		m.UpdateOption(dhcpv4.OptRFC3004UserClass([]string{c.User}))
	}
	// RFC 3442: 121 comes before 3.
	m.UpdateOption(dhcpv4.OptParameterRequestList(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter,
		dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList,
		dhcpv4.OptionHostName, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionNTPServers,
		dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
		dhcpv4.OptionServerIdentifier, dhcpv4.OptionTFTPServerName, dhcpv4.OptionBootfileName,
		optMSRoutes,
	))
	return m
}
