// Program cluster is every part of a small Kubernetes cluster in one executable: its first
// argument says which part to be, the others are that part's own.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// parts maps the first argument to what it starts. Kubernetes' commands and CoreDNS read
// os.Args themselves, so main hands every part an os.Args without the part's name.
var parts = map[string]func(args []string) error{
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllermanager.NewControllerManagerCommand),
	"kube-proxy":              command(proxy.NewProxyCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"etcd":                    etcd,
	"coredns":                 runDNS,
	"registry":                runRegistry,
	"certs":                   makeCerts,
	"push":                    pushImage,
	"ready":                   waitReady,
}

func command(build func() *cobra.Command) func([]string) error {
	return func([]string) error {
		if code := cli.Run(build()); code != 0 {
			os.Exit(code)
		}
		return nil
	}
}

func etcd([]string) error {
	etcdmain.Main(os.Args)
	return nil
}

func main() {
	names := strings.Join(slices.Sorted(maps.Keys(parts)), ", ")
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "usage: cluster PART [ARGUMENT...], where PART is one of %s\n", names)
		os.Exit(2)
	}
	name := os.Args[1]
	part, known := parts[name]
	if !known {
		fmt.Fprintf(os.Stderr, "cluster: no part is called %q; there are %s\n", name, names)
		os.Exit(2)
	}
	os.Args = append([]string{name}, os.Args[2:]...)
	if err := part(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "cluster %s: %v\n", name, err)
		os.Exit(1)
	}
}
