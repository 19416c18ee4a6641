// npm `@microsoft/fetch-event-source`, which is made for browsers.
import { createRequire } from "node:module";

const library = createRequire(`${process.argv[3]}/`)("@microsoft/fetch-event-source");
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
library.fetchEventSource(process.argv[2], {
    fetch,
    openWhenHidden: true,
    onmessage(event) {
        if (event.data === "") return console.log("unexpected", JSON.stringify(event));
        const { id, task } = JSON.parse(event.data);
        console.log(id, event.id, event.event, task.status);
    },
    onerror(error) {
        console.log("error", String(error));
    },
});
