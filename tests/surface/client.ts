// Never run: that it compiles says that the description gives types one can work with.

import createClient from "openapi-fetch";
import type { components, paths } from "./openapi.d.ts";

type Preview = components["schemas"]["Preview"];

const client = createClient<paths>({
  baseUrl: "http://localhost:8080/api/v1",
  headers: { Authorization: "Bearer token" },
});

export async function deploy(repository: string, number: number): Promise<Preview> {
  const { data, error } = await client.POST("/previews", { body: { repository, number } });
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  return data.preview;
}

export async function* previews(): AsyncGenerator<Preview> {
  let after: string | undefined;
  do {
    const { data, error } = await client.GET("/previews", { params: { query: { state: "running", after } } });
    if (error) throw new Error(error.detail);
    yield* data.items;
    after = data.next;
  } while (after);
}

export async function remove({ id: preview }: Preview): Promise<string> {
  const { data, error } = await client.DELETE("/previews/{preview}", { params: { path: { preview } } });
  if (error) throw new Error(error.detail);
  return data.run;
}

// What is wrong is found before it is sent.
export const wrong = [
  // @ts-expect-error A number is missing.
  client.POST("/previews", { body: { repository: "acme/shop" } }),
  // @ts-expect-error There is no such state.
  client.GET("/previews", { params: { query: { state: "lost" } } }),
  // @ts-expect-error There is no such path.
  client.GET("/ships"),
];
