package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// condition is something that must hold before the cluster may be used.
type condition struct {
	name  string
	holds func(context.Context) error
}

// waitReady waits until the cluster can be used and says what it still waits for if it cannot.
// Without a timeout it looks once at every condition.
func waitReady(args []string) error {
	flags := flag.NewFlagSet("ready", flag.ExitOnError)
	config := flags.String("kubeconfig", "", "the administrator's kubeconfig")
	node := flags.String("node", "", "name of the node")
	address := flags.String("address", "", "address of the node")
	registry := flags.String("registry", "", "host and port of the image registry")
	onlyAPI := flags.Bool("only-api", false, "wait for the API server alone")
	timeout := flags.Duration("timeout", 0, "how long to wait; 0 looks once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	restConfig, err := clientcmd.BuildConfigFromFlags("", *config)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return err
	}
	conditions := []condition{{"API server", func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}}}
	if !*onlyAPI {
		conditions = append(conditions, usable(client, *node, *address, *registry)...)
	}

	deadline := time.Now().Add(*timeout)
	var missing []error
	for _, c := range conditions {
		if err := poll(c, deadline); err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", c.name, err))
			continue
		}
		fmt.Printf("ready: %s\n", c.name)
	}
	return errors.Join(missing...)
}

func poll(c condition, deadline time.Time) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := c.holds(ctx)
		cancel()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// usable is what makes more than an API server of it: pods start, find each other by name and by
// Service, and their images can be pulled.
func usable(client kubernetes.Interface, node, address, registry string) []condition {
	return []condition{
		{"image registry", get("http://" + registry + "/v2/")},
		{"node", func(ctx context.Context) error {
			found, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range found.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
					return fmt.Errorf("not Ready: %s", c.Message)
				} else if c.Type == corev1.NodeReady {
					return nil
				}
			}
			return errors.New("has not reported yet")
		}},
		// Pods are refused in a namespace without it.
		{"service account `default`", func(ctx context.Context) error {
			_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
			return err
		}},
		{"Services", get("http://" + net.JoinHostPort(address, "10256") + "/healthz")},
		{"DNS", func(ctx context.Context) error {
			resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "udp", net.JoinHostPort(address, "53"))
			}}
			_, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
			return err
		}},
	}
}

func get(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", url, response.Status)
		}
		return nil
	}
}
