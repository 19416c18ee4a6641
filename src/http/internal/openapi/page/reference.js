// Shows /openapi.json. All texts of the description are set as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
let api;

/** An element with attributes and children. Children may be texts. */
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) node.setAttribute(key, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** A text in which `code` and list items are marked as in Markdown. */
function prose(text) {
  const lines = (text ?? "").split("\n").filter((line) => line !== "");
  const inline = (line) =>
    line.split("`").map((part, at) => (at % 2 === 1 ? el("code", {}, part) : part));
  if (lines.every((line) => line.startsWith("- ")) && lines.length > 0) {
    return el(
      "ul",
      {},
      lines.map((line) => el("li", {}, inline(line.slice(2)))),
    );
  }
  return el("p", {}, inline(lines.join(" ")));
}

/** What a reference stands for. */
function resolve(part) {
  if (!part?.$ref) return part;
  return part.$ref
    .slice(2)
    .split("/")
    .reduce((at, name) => at[name], api);
}

const nameOf = (ref) => ref.split("/").pop();

/** A schema in one line, with links to those that have a name. */
function typeOf(schema) {
  if (schema === true || schema === undefined || Object.keys(schema).length === 0) return ["any"];
  if (schema === false) return ["absent"];
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return [el("a", { href: `#schema-${name}` }, name)];
  }
  // An error with some of its codes: the answer lists them.
  if (schema.allOf) return typeOf(schema.allOf[0]);
  for (const [key, word] of [
    ["anyOf", " or "],
    ["oneOf", " or "],
  ]) {
    if (schema[key])
      return schema[key].flatMap((one, at) => (at ? [word] : []).concat(typeOf(one)));
  }
  if (schema.const !== undefined) return [el("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) {
    return schema.enum.flatMap((one, at) => [at ? " · " : "", el("code", {}, String(one))]);
  }
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
  const type = [schema.type ?? (schema.properties ? "object" : "any")].flat().join(" or ");
  return [schema.format ? `${type} (${schema.format})` : type];
}

/** The bounds of a schema. */
function bounds(schema) {
  const shown = [
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "default",
  ];
  const list = shown.filter((key) => schema?.[key] !== undefined);
  if (list.length === 0) return null;
  return el(
    "small",
    {},
    list.map((key) => el("span", {}, `${key} `, el("code", {}, String(schema[key])), " ")),
  );
}

function row(name, isRequired, schema, description) {
  return el(
    "tr",
    {},
    el(
      "th",
      { scope: "row" },
      el("code", {}, name),
      isRequired ? el("small", {}, " required") : null,
    ),
    el("td", {}, typeOf(schema), " ", bounds(schema)),
    el("td", {}, prose(description ?? schema?.description)),
  );
}

function table(caption, rows) {
  if (rows.length === 0) return null;
  const head = ["name", "type", "meaning"].map((text) => el("th", { scope: "col" }, text));
  const body = el("tbody", {}, rows);
  return el(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), body),
  );
}

/** The members of an object, and of the objects in it that have no name. */
function members(schema, prefix = "") {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const inner = member.type === "array" ? member.items : member;
    const deeper = inner?.properties
      ? members(inner, `${prefix}${name}${member.type === "array" ? "[]" : ""}.`)
      : [];
    return [row(prefix + name, required.has(name), member), ...deeper];
  });
}

function content(part) {
  return Object.entries(part.content ?? {}).map(([type, { schema }]) =>
    el("p", {}, el("code", {}, type), " ", typeOf(schema)),
  );
}

/** How to call an operation with curl. */
function curl(method, path, operation) {
  const url = `${location.origin}${path}`;
  const lines = [`curl -s ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${url}'`];
  if (operation.security.length > 0) lines.push(`-H "Authorization: Bearer $KEY"`);
  if (operation.requestBody) lines.push(`-H 'Content-Type: application/json' -d @body.json`);
  return el("pre", { tabindex: "0" }, el("code", {}, lines.join(" \\\n    ")));
}

function operationOf(method, path, operation, isWebhook) {
  const parameters = (operation.parameters ?? []).map(resolve);
  const scopes = operation.security.flatMap((need) => need.apiKey ?? []);
  const key = isWebhook
    ? ""
    : scopes.length
      ? `Needs a key with the scope \`${scopes[0]}\``
      : operation.security.length
        ? "Needs a key, with any scope"
        : "Needs no key";
  return el(
    "article",
    { id: operation.operationId },
    el("h3", {}, operation.summary),
    el(
      "p",
      { class: "route" },
      el("span", { class: `method ${method}` }, isWebhook ? "event" : method.toUpperCase()),
      " ",
      el("code", {}, path),
    ),
    operation.description ? prose(operation.description) : null,
    key ? prose(key) : null,
    table(
      "Parameters",
      parameters.map((it) =>
        row(`${it.name}`, it.required, it.schema, `${it.description} (${it.in})`),
      ),
    ),
    operation.requestBody
      ? el("div", {}, el("h4", {}, "Body"), content(operation.requestBody))
      : null,
    el("h4", {}, "Answers"),
    el(
      "dl",
      {},
      Object.entries(operation.responses).flatMap(([status, part]) => {
        const response = resolve(part);
        const headers = Object.keys(response.headers ?? {});
        return [
          el("dt", {}, status),
          el(
            "dd",
            {},
            prose(response.description),
            content(response),
            headers.length ? el("p", {}, el("small", {}, `headers: ${headers.join(", ")}`)) : null,
          ),
        ];
      }),
    ),
    isWebhook ? null : curl(method, path, operation),
  );
}

function schemaOf(name, schema) {
  const rows = members(schema);
  return el(
    "article",
    { id: `schema-${name}` },
    el("h3", {}, name),
    schema.description ? prose(schema.description) : null,
    rows.length === 0
      ? el("p", {}, typeOf(schema), " ", bounds(schema))
      : table(`Members of ${name}`, rows),
  );
}

/** A group of articles, and the links to them. */
function section(title, description, articles, links) {
  if (articles.length === 0) return;
  const id = `group-${title.toLowerCase().replace(/[^a-z]/g, "-")}`;
  document
    .getElementById("content")
    .append(
      el(
        "section",
        { "aria-labelledby": id },
        el("h2", { id }, title),
        description ? prose(description) : null,
        articles,
      ),
    );
  const items = links.map(([href, text, method]) =>
    el(
      "li",
      {},
      el(
        "a",
        { href },
        method ? el("span", { class: `method ${method}` }, method.toUpperCase()) : null,
        text,
      ),
    ),
  );
  document.getElementById("links").append(el("h2", {}, title), el("ul", {}, items));
}

function show() {
  document.getElementById("loading").remove();
  document.getElementById("version").textContent = api.info.version;
  document
    .getElementById("content")
    .append(
      el(
        "section",
        {},
        prose(api.info.description),
        prose(api.components.securitySchemes.apiKey.description),
      ),
    );
  for (const tag of api.tags) {
    const [articles, links] = [[], []];
    for (const [items, isWebhook] of [
      [api.paths, false],
      [api.webhooks, true],
    ]) {
      for (const [path, item] of Object.entries(items)) {
        for (const method of METHODS.filter((it) => item[it]?.tags.includes(tag.name))) {
          articles.push(operationOf(method, path, item[method], isWebhook));
          links.push([`#${item[method].operationId}`, path, isWebhook ? null : method]);
        }
      }
    }
    section(tag.name, tag.description, articles, links);
  }
  const schemas = Object.entries(api.components.schemas);
  section(
    "Schemas",
    null,
    schemas.map(([name, schema]) => schemaOf(name, schema)),
    schemas.map(([name]) => [`#schema-${name}`, name, null]),
  );
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const link of document.querySelectorAll("#links li")) {
    link.hidden = !link.textContent.toLowerCase().includes(wanted);
  }
});

fetch("/openapi.json")
  .then((answer) =>
    answer.ok ? answer.json() : Promise.reject(new Error(`answered ${answer.status}`)),
  )
  .then((document) => {
    api = document;
    show();
  })
  .catch((error) => {
    document.getElementById("loading").textContent =
      `could not load /openapi.json: ${error.message}`;
  });
