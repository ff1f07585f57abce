package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	// The plugins register themselves when they are imported.
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

// runDNS is the cluster's DNS: CoreDNS with only the plugins that its Corefile here names.
func runDNS([]string) error {
	dnsserver.Directives = []string{"bind", "errors", "kubernetes"}
	coremain.Run()
	return nil
}
