-- What a task makes, and by which model. Until here there was one route for submits and one model.
ALTER TABLE task ADD COLUMN kind TEXT DEFAULT 'image'
    CHECK (kind = 'image' OR kind = 'video' OR kind = 'audio');
ALTER TABLE task ADD COLUMN model TEXT DEFAULT 'z-image-turbo';

-- What an app submitted to EvoLink directly may be anything.
UPDATE task SET kind = NULL, model = NULL WHERE origin <> 'submit';
